"""The report: one HTML page with everything inside it, pictures too."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from pipeline import drawing
from pipeline.bought import Bought, Sums
from pipeline.doubts import Doubts
from pipeline.record import Trace
from pipeline.scores.curve import Published, budget_of, published, told_apart

_REASONS = 15
_TOLD_APART = 0.05


def page(
    *,
    name: str,
    summaries: Mapping[str, Mapping[str, Any]],
    histories: Mapping[str, Sequence[float]],
    traces: Sequence[tuple[str, Trace]],
    recipe: str,
    standin: bool,
    bought: Bought,
    doubts: Doubts,
) -> str:
    """The page's HTML. `summaries` holds the steps that are done; a step that isn't leaves its section out.

    `bought` is the run's whole ledger, so that all that was spent is counted, for training and for evaluation, by this
    command and by those before it. All text is escaped; only the pictures, which are drawn here, are not.
    """
    evaluated = summaries.get("evaluate")
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            name=name,
            funnel=_funnel(summaries),
            summaries=summaries,
            table=_by_benchmark(evaluated["models"]) if evaluated else {},
            scores=Markup(drawing.scores(_whole(evaluated["models"]))) if evaluated else None,
            paired=[_told(line) for line in evaluated["paired"]] if evaluated else [],
            curves=_curves(evaluated) if evaluated else [],
            losses=Markup(drawing.losses(histories, _held_back(summaries["train"]))) if histories else None,
            judges={step: summary["judge"] for step, summary in summaries.items() if summary.get("judge")},
            doubts=doubts,
            reasons=doubts.reasons.most_common(_REASONS),
            traces=traces,
            recipe=recipe,
            standin=standin,
            bought=bought,
            engines=_engines(bought),
        )
    )


def _held_back(trained: Mapping[str, Any]) -> dict[str, Mapping[str, float]]:
    return {phase["name"]: phase.get("validation", {}) for phase in trained["phases"]}


def _environment() -> Environment:
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True)
    environment.filters["share"] = lambda value: "none judged" if value is None else f"{100 * value:.1f} %"
    environment.filters["percent"] = lambda value: "none judged" if value is None else f"{100 * value:.1f}"
    environment.filters["top"] = _top
    environment.filters["points"] = lambda value: f"{100 * value:+.1f}"
    environment.filters["p"] = lambda value: "< 0.001" if value < 0.001 else f"{value:.2g}"
    return environment


def _top(at: Mapping[str, float]) -> str:
    """pass@k or maj@k for the largest k; k = 1 says nothing more than pass@1."""
    if len(at) < 2:
        return ""
    k, value = list(at.items())[-1]
    return f"k={k}: {100 * value:.1f}"


def _whole(models: Mapping[str, Any]) -> Mapping[str, Any]:
    """The models without their runs on a thought budget, which are points of a curve."""
    return {model: scores for model, scores in models.items() if budget_of(model)[1] is None}


def _by_benchmark(models: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The scores with benchmarks outside and models inside, as they are compared."""
    found: dict[str, dict[str, Any]] = {}
    for model, scores in models.items():
        for benchmark, score in scores.items():
            found.setdefault(benchmark, {})[model] = score
    return found


def _funnel(summaries: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, int, Mapping[str, int]]]:
    """What came in at each step, and what it dropped for which reason."""
    lines: list[tuple[str, int, Mapping[str, int]]] = []
    # Without sources it only read the benchmarks.
    if (curated := summaries.get("curate")) and curated["in"]:
        lines.append(("rows read", curated["in"], {}))
        lines.append(("problems kept", curated["kept"], curated["dropped"]))
    if distilled := summaries.get("distill"):
        lines.append(("traces", distilled["traces"], distilled["dropped"]))
        others = {name: n for name, n in distilled["verdicts"].items() if name != "correct" and n}
        lines.append(("correct", distilled["verdicts"]["correct"], others))
    if chosen := summaries.get("choose"):
        lines.append(("examples", chosen["examples"], chosen["dropped"]))
    for phase in summaries.get("train", {}).get("phases", ()):
        if phase.get("left_out"):
            lines.append((f"packed for {phase['name']}", phase["examples"], phase["left_out"]))
    return lines


def _told(line: Mapping[str, Any]) -> dict[str, Any]:
    """A paired difference with what it means in words."""
    if line["p_value"] < _TOLD_APART:
        verdict = "they differ"
    elif not line.get("problems_needed"):
        verdict = "no difference seen"
    else:
        verdict = f"not told apart: about {line['problems_needed']:,} problems would be needed"
    return {**line, "verdict": verdict}


def _curves(evaluated: Mapping[str, Any]) -> list[tuple[str, Markup, list[str]]]:
    """For each benchmark its picture, and what can be said of the published figures in it."""
    paint = drawing.colours(_whole(evaluated["models"]))
    found = []
    for benchmark, models in evaluated.get("curve", {}).items():
        figures = published(benchmark)
        points = [figure.point.as_json() for figure in figures]
        picture = drawing.curve(models, points, drawing.colours([*paint, *models]))
        if picture:
            found.append((benchmark, Markup(picture), [_published(*pair) for pair in told_apart(figures)]))
    return found


def _published(a: Published, b: Published, p_value: float) -> str:
    apart = "differ" if p_value < _TOLD_APART else "can't be told apart"
    return f"{a.model} ({a.percent:.1f} %) and {b.model} ({b.percent:.1f} %) {apart} (p = {p_value:.2g})"


def _engines(bought: Bought) -> dict[str, Sums]:
    """All that was bought, by who answered."""
    engines: dict[str, Sums] = {}
    for group, sums in bought.groups.items():
        engines.setdefault(group.engine, Sums()).add(sums)
    return engines
