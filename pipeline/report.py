"""The report: one HTML page with everything inside it, pictures too."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from pipeline.record import Trace

_COLOURS = {"base": "#9aa5b1", "student": "#2f6fde", "teacher": "#e08a1e"}


def page(
    *,
    name: str,
    summaries: Mapping[str, Mapping[str, Any]],
    histories: Mapping[str, Sequence[float]],
    traces: Sequence[tuple[str, Trace]],
    recipe: str,
    standin: bool,
) -> str:
    """The page's HTML. `summaries` holds the steps that are done; a step that isn't leaves its section out."""
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True)
    environment.filters["share"] = lambda value: "none judged" if value is None else f"{100 * value:.1f} %"
    evaluated = summaries.get("evaluate")
    return environment.get_template("report.html.j2").render(
        name=name,
        funnel=_funnel(summaries),
        summaries=summaries,
        scores=Markup(_scores(evaluated["models"])) if evaluated else None,
        losses=Markup(_losses(histories)) if histories else None,
        traces=traces,
        recipe=recipe,
        standin=standin,
        spent=_spent(summaries),
    )


def _funnel(summaries: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, int, Mapping[str, int]]]:
    """What came in at each step, and what it dropped for which reason."""
    lines: list[tuple[str, int, Mapping[str, int]]] = []
    if curated := summaries.get("curate"):
        lines.append(("rows read", curated["in"], {}))
        lines.append(("problems kept", curated["kept"], curated["dropped"]))
    if distilled := summaries.get("distill"):
        lines.append(("traces", distilled["traces"], distilled["dropped"]))
        others = {name: n for name, n in distilled["verdicts"].items() if name != "correct" and n}
        lines.append(("correct", distilled["verdicts"]["correct"], others))
    if chosen := summaries.get("choose"):
        lines.append(("examples", chosen["examples"], chosen["dropped"]))
    return lines


def _spent(summaries: Mapping[str, Mapping[str, Any]]) -> float:
    return float(summaries.get("distill", {}).get("cost_total_usd", 0.0))


def _scores(models: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Bars of pass@1 with 95 % intervals, models side by side for each benchmark."""
    benchmarks = list(next(iter(models.values())))
    if not benchmarks:
        return ""
    figure, axes = _figure(width=1.6 + 1.7 * len(benchmarks))
    width = 0.8 / len(models)
    for place, (model, scores) in enumerate(models.items()):
        at = [number + (place - (len(models) - 1) / 2) * width for number in range(len(benchmarks))]
        means = [100 * (scores[benchmark]["pass@1"] or 0.0) for benchmark in benchmarks]
        intervals = [scores[benchmark]["ci95"] or (0.0, 0.0) for benchmark in benchmarks]
        below = [max(0.0, mean - 100 * low) for mean, (low, _) in zip(means, intervals, strict=True)]
        above = [max(0.0, 100 * high - mean) for mean, (_, high) in zip(means, intervals, strict=True)]
        bars = axes.bar(at, means, width * 0.92, yerr=[below, above], capsize=3, label=model, color=_COLOURS[model])
        axes.bar_label(bars, fmt="%.0f", padding=3, fontsize=8)
    axes.set_xticks(range(len(benchmarks)), benchmarks)
    axes.set_ylim(0, 112)
    axes.set_ylabel("pass@1, % (95 % interval)")
    axes.legend(frameon=False, loc="upper left")
    return _svg(figure)


def _losses(histories: Mapping[str, Sequence[float]]) -> str:
    """The loss of every step, phases one after another."""
    figure, axes = _figure(width=7)
    start = 0
    for phase, losses in histories.items():
        axes.plot(range(start, start + len(losses)), losses, label=phase, linewidth=1.4)
        start += len(losses)
    axes.set_xlabel("optimizer step")
    axes.set_ylabel("loss, nats a trained token")
    axes.legend(frameon=False)
    return _svg(figure)


def _figure(*, width: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(4.0, width), 3.2), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _svg(figure: Any) -> str:
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    text = out.getvalue()
    # Inside a page there is no XML prologue.
    return text[text.index("<svg") :]
