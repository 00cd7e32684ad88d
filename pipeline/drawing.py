"""The report's pictures, as SVG that stands inside the page. Names in them are foreign text: no markup, no math."""

import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import cycle
from typing import Any

_KNOWN = {"base": "#8a94a0", "student": "#2f6fde", "teacher": "#e08a1e"}
# Told apart by people who see few colours too (Okabe and Ito, and Tol's muted ones).
_FURTHER = ("#009e73", "#cc79a7", "#882255", "#56b4e9", "#117733", "#b3541e", "#332288", "#999933")
_GREY = "#6b7580"
_LONGEST_NAME = 32
_WIDTH = 8.4

# Any: what it is passed to names every key.
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "longthought",
    "text.parse_math": False,
    "font.size": 9,
    "axes.edgecolor": "#9aa5b1",
    "axes.labelcolor": "#3e4c59",
    "text.color": "#1f2933",
    "xtick.color": "#52606d",
    "ytick.color": "#52606d",
}

Scores = Mapping[str, Mapping[str, Mapping[str, Any]]]
Points = Sequence[Mapping[str, Any]]


def colours(models: Iterable[str]) -> dict[str, str]:
    """A colour for each model; base, student and teacher have their own, and there are enough for the rest."""
    further = cycle(_FURTHER)
    return {model: _KNOWN.get(model) or next(further) for model in dict.fromkeys(models)}


def scores(models: Scores) -> str:
    """pass@1 with its interval, a line for each benchmark and model."""
    benchmarks = list(dict.fromkeys(benchmark for found in models.values() for benchmark in found))
    lines = [
        (benchmark, model, models[model][benchmark])
        for benchmark in benchmarks
        for model in models
        if models[model].get(benchmark, {}).get("pass@1") is not None
    ]
    return _svg(lambda: _scores(lines, colours(models))) if lines else ""


def losses(histories: Mapping[str, Sequence[float]], held_back: Mapping[str, Mapping[str, float]]) -> str:
    """The loss of every step, phases one after another; `held_back`: phase -> steps done -> loss, drawn as points."""
    return _svg(lambda: _losses(histories, held_back))


def curve(models: Mapping[str, Points], published: Points, paint: Mapping[str, str]) -> str:
    """Accuracy against mean output tokens, for every model, with published figures."""
    drawn = {model: points for model, points in models.items() if points}
    return _svg(lambda: _curve(drawn, published, paint)) if drawn else ""


def _scores(lines: Sequence[tuple[str, str, Mapping[str, Any]]], paint: Mapping[str, str]) -> Any:
    places, names, place, before = [], [], 0.0, None
    headings = []
    for benchmark, model, _ in lines:
        if benchmark != before:
            headings.append((place, benchmark))
            place, before = place + 0.95, benchmark
        places.append(place)
        names.append(_name(model))
        place += 0.85
    figure, axes = _figure(width=_WIDTH, height=0.55 + 0.27 * place)
    for at, (_, model, score) in zip(places, lines, strict=True):
        share, (low, high) = 100 * score["pass@1"], (100 * side for side in score["ci95"])
        axes.plot([low, high], [at, at], color=paint[model], linewidth=5, alpha=0.28, solid_capstyle="round")
        axes.plot([share], [at], "o", color=paint[model], markersize=7)
        axes.text(108, at, f"{share:.1f}", va="center", ha="right", fontweight="bold", color=paint[model])
        axes.text(109.5, at, f"{low:.0f} to {high:.0f}", va="center", ha="left", color=_GREY, fontsize=8)
    for at, benchmark in headings:
        axes.text(0, at, _name(benchmark), va="center", fontweight="bold")
    axes.set_yticks(places, names)
    axes.set_ylim(place - 0.2, -0.6)
    axes.set_xlim(-1, 119)
    axes.set_xticks(range(0, 101, 20))
    axes.spines.left.set_visible(False)
    axes.spines.bottom.set_bounds(0, 100)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#e4e7eb", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xlabel("pass@1, %; bars are 95 % intervals")
    return figure


def _losses(histories: Mapping[str, Sequence[float]], held_back: Mapping[str, Mapping[str, float]]) -> Any:
    figure, axes = _figure(width=_WIDTH, height=3.0)
    start = 0
    for (phase, values), colour in zip(histories.items(), cycle(("#2f6fde", *_FURTHER)), strict=False):
        axes.plot(range(start, start + len(values)), values, label=_name(phase), linewidth=1.4, color=colour)
        points = {start + int(step) - 1: loss for step, loss in held_back.get(phase, {}).items()}
        if points:
            told = f"{_name(phase)}, held back"
            axes.plot(list(points), list(points.values()), "o", label=told, markersize=5, color=colour)
        start += len(values)
    axes.set_xlabel("optimizer step")
    axes.set_ylabel("loss, nats a trained token")
    axes.legend(frameon=False)
    return figure


def _curve(models: Mapping[str, Points], published: Points, paint: Mapping[str, str]) -> Any:
    figure, axes = _figure(width=_WIDTH, height=4.0)
    for model, points in models.items():
        _draw_model(axes, points, paint[model])
    for place, point in enumerate(sorted(published, key=lambda point: point["tokens"])):
        _bar(axes, point, _GREY, alpha=0.35)
        axes.plot([point["tokens"]], [100 * point["accuracy"]], "D", color=_GREY, markersize=6, zorder=2)
        left = place == 0
        axes.annotate(
            _name(point["label"]),
            (point["tokens"], 100 * point["accuracy"]),
            xytext=(-8 if left else 8, 0),
            textcoords="offset points",
            ha="right" if left else "left",
            va="center",
            color=_GREY,
            fontsize=8,
            bbox={"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.5},
            zorder=5,
        )
    _frame(axes, [point for points in (*models.values(), published) for point in points])
    _legend(
        figure,
        models,
        paint,
        kinds={point["kind"] for points in models.values() for point in points},
        published=published,
    )
    return figure


def _draw_model(axes: Any, points: Points, colour: str) -> None:
    """Dashed from budgets to pass@1, then the line of majorities with a band of its intervals."""
    forced = [point for point in points if point["kind"] in ("forced", "pass")]
    voted = [point for point in points if point["kind"] in ("pass", "majority")]
    axes.plot(*_xy(forced), "--", color=colour, linewidth=1.1, zorder=3)
    axes.plot(*_xy(voted), "-", color=colour, linewidth=1.8, zorder=3)
    tokens = [point["tokens"] for point in voted]
    low, high = ([100 * point["ci95"][side] for point in voted] for side in (0, 1))
    axes.fill_between(tokens, low, high, color=colour, alpha=0.08, linewidth=0)
    for point in points:
        _bar(axes, point, colour, alpha=0.5 if point["kind"] != "majority" else 0)
        face = "white" if point["kind"] == "forced" else colour
        size = 3.5 if point["kind"] == "majority" else 7
        axes.plot(*_xy([point]), "o", color=colour, markerfacecolor=face, markersize=size, zorder=4)
    if voted and voted[-1]["kind"] == "majority":
        last = voted[-1]
        axes.annotate(
            last["label"],
            (last["tokens"], 100 * last["accuracy"]),
            xytext=(0, 6),
            textcoords="offset points",
            ha="center",
            color=colour,
            fontsize=8,
        )


def _xy(points: Points) -> tuple[list[float], list[float]]:
    return [point["tokens"] for point in points], [100 * point["accuracy"] for point in points]


def _bar(axes: Any, point: Mapping[str, Any], colour: str, *, alpha: float) -> None:
    low, high = point["ci95"]
    axes.plot([point["tokens"]] * 2, [100 * low, 100 * high], color=colour, linewidth=1.2, alpha=alpha, zorder=1)


def _frame(axes: Any, points: Points) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set_xscale("log")
    tokens = [max(1.0, point["tokens"]) for point in points]
    axes.set_xlim(min(tokens) / 1.5, max(tokens) * 1.5)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _thousands(value)))
    # Scores that crowd near the top get the room.
    lowest = min(100 * point["ci95"][0] for point in points)
    axes.set_ylim(max(0, 20 * math.floor((lowest - 5) / 20)), 102)
    axes.grid(color="#e4e7eb", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xlabel("mean output tokens a problem (log scale)")
    axes.set_ylabel("accuracy, %")


def _thousands(value: float) -> str:
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def _legend(
    figure: Any, models: Iterable[str], paint: Mapping[str, str], *, kinds: set[str], published: Points
) -> None:
    """Models by colour, then what the marks mean."""
    from matplotlib.lines import Line2D

    def mark(label: str, **look: Any) -> Any:
        return Line2D([], [], label=label, **({"color": "#52606d", "linestyle": ""} | look))

    handles = [mark(_name(model), color=paint[model], linestyle="-", linewidth=3) for model in models]
    marks = [
        ("forced" in kinds, mark("thought cut to a budget", marker="o", markerfacecolor="white", markersize=7)),
        ("pass" in kinds, mark("pass@1", marker="o", markersize=7)),
        ("majority" in kinds, mark("majority of k draws", marker="o", markersize=3.5, linestyle="-")),
        (bool(published), mark("published, one draw", marker="D", markersize=6, color=_GREY)),
    ]
    handles += [handle for shown, handle in marks if shown]
    figure.legend(handles=handles, loc="outside upper center", ncols=min(4, len(handles)), frameon=False, fontsize=8.5)


def _name(text: str) -> str:
    """A foreign name as a label: short, on one line, and not hidden as matplotlib hides labels that begin with _."""
    flat = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split()) or "?"
    short = flat if len(flat) <= _LONGEST_NAME else f"{flat[: _LONGEST_NAME - 3]}..."
    return f" {short}" if short.startswith("_") else short


def _figure(*, width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _svg(draw: Callable[[], Any]) -> str:
    import matplotlib

    out = io.StringIO()
    with matplotlib.rc_context(_STYLE):
        draw().savefig(out, format="svg", metadata={"Date": None})
    text = out.getvalue()
    # Inside a page there is no XML prologue.
    return text[text.index("<svg") :]
