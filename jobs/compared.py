"""From finished arms to figures: what each was trained on, what it scored, every pair's difference, and a table."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jobs.arms import BASE, Run
from jobs.job import Summary, number
from jobs.measure import counted
from jobs.recipe import Recipe
from jobs.steps import store_of
from pipeline.scores.arms import paired, scored
from pipeline.scores.score import Tally
from pipeline.store import Store

UNEQUAL = 0.02
"""How far apart the trained tokens of arms may be before it is said loudly."""


def compared(base: Recipe, runs: Sequence[Run]) -> Summary:
    """The figures of a comparison whose arms are all evaluated."""
    benchmarks = list(base.evaluate.benchmarks)
    tallies = {BASE: [_tallies(store_of(base), benchmarks, "base")]}
    trained: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        store = store_of(run.recipe)
        tallies.setdefault(run.arm, []).append(_tallies(store, benchmarks, "student"))
        trained.setdefault(run.arm, []).append({"seed": run.seed, **_trained(store.read_json("summary/train.json"))})
    scores = {name: scored(held) for name, held in tallies.items()}
    figures = {name: {key: value.as_json() for key, value in held.items()} for name, held in scores.items()}
    return {
        "base": figures.pop(BASE),
        "arms": {name: {"runs": trained[name], "scores": held} for name, held in figures.items()},
        "unequal": unequal(trained),
        "paired": paired(scores),
    }


def unequal(trained: Mapping[str, Sequence[Mapping[str, Any]]]) -> str | None:
    """What must be said loudly where the arms were not trained on equally many tokens."""
    every = [(run["tokens"], name) for name, held in trained.items() for run in held]
    (least, fewest), (most, name) = min(every), max(every)
    if most <= least * (1 + UNEQUAL):
        return None
    apart = f"{most / max(1, least) - 1:.1%} apart"
    return f"NOT EQUAL: {name} was trained on {most:,} tokens, {fewest} on {least:,}: {apart}"


def markdown(summary: Summary) -> str:
    """The tables that a reader wants, and what to hold against them."""
    parts = ["\n".join(_arms(summary)), "\n".join(_pairs(summary))]
    if summary["unequal"]:
        parts.insert(0, f"**{summary['unequal']}**")
    return "\n\n".join([*parts, _sure(summary)]) + "\n"


def _arms(summary: Summary) -> Iterator[str]:
    benchmarks = list(summary["base"])
    yield f"| arm | trained tokens | steps | last loss | {' | '.join(f'{name}, pass@1' for name in benchmarks)} |"
    yield "|---|" + "---:|" * (3 + len(benchmarks))
    rows = {BASE: {"runs": [], "scores": summary["base"]}, **summary["arms"]}
    for name, arm in rows.items():
        figures = [_each(arm["runs"], key) for key in ("tokens", "steps", "loss_last")]
        yield f"| {' | '.join([name, *figures, *(_score(arm['scores'][each]) for each in benchmarks)])} |"


def _pairs(summary: Summary) -> Iterator[str]:
    yield "| pair | benchmark | problems | difference, points | 95 % interval | p | p, Holm | each seed |"
    yield "|---|---|---:|---:|---|---:|---:|---|"
    for line in summary["paired"]:
        low, high = line["ci95"]
        seeds = ", ".join(f"{100 * each:+.1f}" for each in line["runs"]) if len(line["runs"]) > 1 else "one run"
        yield (
            f"| {line['a']} - {line['b']} | {line['benchmark']} | {line['problems']} | "
            f"{100 * line['difference']:+.1f} | {100 * low:+.1f} to {100 * high:+.1f} | "
            f"{line['p_value']:.2g} | {line['p_holm']:.2g} | {seeds} |"
        )


def _sure(summary: Summary) -> str:
    runs = max(len(arm["runs"]) for arm in summary["arms"].values())
    text = (
        "Intervals and p-values are over the problems (paired bootstrap, sign flips); Holm's p is corrected for all "
        "pairs of a benchmark. "
    )
    if runs == 1:
        return f"{text}Each arm was trained once: how much another seed would change is not known, and not in them."
    return f"{text}Rates are means over {runs} seeds; how far apart these are stands beside them, and is not in them."


def _each(runs: Sequence[Mapping[str, Any]], key: str) -> str:
    """A figure of every run, once where they are all the same."""
    told = [number(run[key]) if isinstance(run[key], int) else f"{run[key]:.3f}" for run in runs]
    return ", ".join(dict.fromkeys(told)) or "-"


def _score(figures: Mapping[str, Any]) -> str:
    if figures["pass@1"] is None:
        return "none judged"
    low, high = figures["ci95"]
    text = f"{figures['pass@1']:.1%} ({100 * low:.1f} to {100 * high:.1f})"
    if len(figures["runs"]) < 2:
        return text
    return f"{text}; {', '.join('-' if run is None else f'{run:.1%}' for run in figures['runs'])}"


def _tallies(store: Store, benchmarks: Sequence[str], model: str) -> dict[str, Tally]:
    return {benchmark: counted(store, f"scores/{benchmark}/{model}") for benchmark in benchmarks}


def _trained(summary: Summary) -> dict[str, Any]:
    """What an arm's training came to, over its phases."""
    phases = [
        {
            "name": phase["name"],
            "tokens": phase["trained_tokens"],
            "steps": phase["steps"],
            "loss_last": phase["loss_last"],
        }
        for phase in summary["phases"]
    ]
    whole = {key: sum(phase[key] for phase in phases) for key in ("tokens", "steps")}
    return {**whole, "loss_last": phases[-1]["loss_last"], "phases": phases}
