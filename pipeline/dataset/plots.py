"""The card's pictures, as PNG: on the Hub a file beside the card shows only if it is a picture of pixels."""

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pipeline.dataset.markdown import flat
from pipeline.dataset.stages import Stage
from pipeline.dataset.statistics import Statistics

_BLUE, _ORANGE, _GREY, _INK = "#2f6fde", "#e08a1e", "#c3cad3", "#1f2933"
_MOST_LINES = 20
# Any: what it is passed to names every key.
_STYLE: Any = {
    "text.parse_math": False,
    "font.size": 10,
    "axes.edgecolor": "#9aa5b1",
    "axes.labelcolor": "#3e4c59",
    "text.color": _INK,
    "xtick.color": "#52606d",
    "ytick.color": "#52606d",
    "savefig.facecolor": "white",
}


def plots(found: Statistics, funnel: Sequence[Stage]) -> dict[str, bytes]:
    """Picture by file name; what there is nothing to draw of is left out. Same figures, same bytes."""
    subjects = found.counts["subject"]
    drawn: dict[str, Callable[[], Any] | None] = {
        "funnel.png": (lambda: _funnel(funnel)) if funnel else None,
        "lengths.png": (lambda: _lengths(found)) if found.tokens else None,
        "pass_rates.png": (lambda: _pass_rates(found)) if len(found.pass_rates) else None,
        "subjects.png": (lambda: _subjects(subjects)) if len(subjects) > 1 else None,
    }
    return {name: _png(draw) for name, draw in drawn.items() if draw is not None}


def _funnel(funnel: Sequence[Stage]) -> Any:
    lines = [line for stage in funnel for line in _bars(stage)]
    figure, axes = _figure(height=0.6 + 0.3 * len(lines))
    most = {stage.step: max(stage.came, 1) for stage in funnel}
    for place, (step, _, count, colour) in enumerate(lines):
        axes.barh(place, count / most[step], color=colour, height=0.72)
        axes.text(count / most[step] + 0.008, place, f"{count:,}", va="center", fontsize=8.5)
    axes.set_yticks(range(len(lines)), [_label(name) for _, name, *_ in lines])
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.set_xlim(0, 1.12)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "100 %"])
    axes.set_xlabel("share of what came in at that step")
    axes.tick_params(axis="y", length=0)
    return figure


def _bars(stage: Stage) -> list[tuple[str, str, int, str]]:
    """What came, what was left out, what stayed; the rarest reasons together, so that the picture stays readable."""
    reasons = list(stage.dropped.items())
    if len(reasons) > _MOST_LINES:
        rest = reasons[_MOST_LINES - 1 :]
        reasons = [*reasons[: _MOST_LINES - 1], (f"{len(rest)} other reasons", sum(count for _, count in rest))]
    return [
        (stage.step, stage.comes, stage.came, _GREY),
        *((stage.step, f"- {name}", count, _ORANGE) for name, count in reasons),
        (stage.step, stage.stays, stage.kept, _BLUE),
    ]


def _lengths(found: Statistics) -> Any:
    import numpy as np
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    figure, axes = _figure(height=3.2)
    kinds = [("thought", _BLUE), ("reply", _ORANGE)] if found.lengths["thought"].any() else [("reply", _ORANGE)]
    lengths = {name: found.lengths[name][found.lengths[name] > 0] for name, _ in kinds}
    drawn = np.concatenate(list(lengths.values()))
    edges = np.geomspace(drawn.min() / 1.05, drawn.max() * 1.05, 50)
    for name, colour in kinds:
        axes.hist(lengths[name], bins=edges, color=colour, alpha=0.6, label=name)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_xlabel("tokens (log scale)")
    axes.set_ylabel("examples")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(loc="outside upper right", ncols=2, frameon=False)
    return figure


def _pass_rates(found: Statistics) -> Any:
    import numpy as np
    from matplotlib.ticker import MaxNLocator

    figure, axes = _figure(height=2.8)
    axes.hist(found.pass_rates, bins=np.linspace(-0.025, 1.025, 22), color=_BLUE, rwidth=0.9)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("pass rate of the example's problem")
    axes.set_ylabel("examples")
    return figure


def _subjects(subjects: Mapping[str, int]) -> Any:
    lines = sorted(subjects.items(), key=lambda item: (-item[1], item[0]))
    if len(lines) > _MOST_LINES:
        rest = lines[_MOST_LINES - 1 :]
        lines = [*lines[: _MOST_LINES - 1], (f"{len(rest):,} others", sum(count for _, count in rest))]
    figure, axes = _figure(height=0.8 + 0.28 * len(lines))
    axes.barh(range(len(lines)), [count for _, count in lines], color=_BLUE, height=0.72)
    for place, (_, count) in enumerate(lines):
        axes.text(count, place, f" {count:,}", va="center", fontsize=8.5)
    axes.set_yticks(range(len(lines)), [_label(name) for name, _ in lines])
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.margins(x=0.1)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("examples")
    return figure


def _label(text: str) -> str:
    """A foreign name as a label: short, on one line, in letters that the picture's font can draw or a box for them."""
    return flat(text, most=36) or "(empty)"


def _figure(*, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _png(draw: Callable[[], Any]) -> bytes:
    import warnings

    import matplotlib

    out = io.BytesIO()
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        # A letter that the font lacks is drawn as a box.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        draw().savefig(out, format="png", dpi=110, metadata={"Software": None})
    return out.getvalue()
