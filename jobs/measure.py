"""From the traces of an evaluation to its figures: scores, paired tests, curves, and metrics.json of every benchmark.

Only the columns that are counted are read, and only counts are kept: the texts stay where they are.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from pipeline.scores.curve import budget_of, curve
from pipeline.scores.paired import Difference, compare
from pipeline.scores.score import Draws, Score, Tally, majority_rates, rates, scored
from pipeline.store import Store


@dataclass(frozen=True, slots=True)
class Draw:
    """The columns of a trace that are counted."""

    id: str
    verdict: str | None
    finish_reason: str
    thought_tokens: int
    reply_tokens: int
    drop: str | None
    vote: int | None = None


UNSHOWN = frozenset(
    {"curve"} | {f"{name}@k_{rest}" for name in ("pass", "maj") for rest in ("low", "ci95", "left_out")}
)
"""What a person at a terminal is spared; it is in the summary and in the report."""

_COLUMNS = tuple(Draw.__dataclass_fields__)


def measure(
    store: Store, *, benchmarks: Sequence[str], models: Sequence[str], ks: Sequence[int] = ()
) -> dict[str, Any]:
    """The keys models, paired and curve of summary/evaluate.json; writes scores/<benchmark>/metrics.json.

    pass@k and maj@k are given for `ks`, or for the powers of two up to the draws of a problem.
    """
    figures: dict[str, dict[str, Any]] = {model: {} for model in models}
    paired: list[dict[str, Any]] = []
    curves: dict[str, Any] = {}
    everything: dict[str, dict[str, Draws]] = {model: {} for model in models}
    for benchmark in benchmarks:
        tallies = {model: counted(store, f"scores/{benchmark}/{model}") for model in models}
        scores = {model: scored(held, ks=ks) for model, held in tallies.items()}
        differ = list(pairs(benchmark, {model: held.problems for model, held in tallies.items()}))
        curves[benchmark] = _points(scores)
        metrics = {"models": {model: score.as_json() for model, score in scores.items()}, "paired": differ}
        store.write_json(f"scores/{benchmark}/metrics.json", {**metrics, "curve": curves[benchmark]})
        paired += differ
        for model, held in tallies.items():
            figures[model][benchmark] = metrics["models"][model]
            # Two benchmarks may hold the same problem.
            everything[model] |= {f"{benchmark}/{problem}": draws for problem, draws in held.problems.items()}
    if len(benchmarks) > 1:
        paired += pairs("all", everything)
    return {"models": figures, "paired": paired, "curve": curves}


def counted(store: Store, folder: str) -> Tally:
    """The draws of one model on one benchmark, counted shard by shard."""
    held = Tally()
    for name in store.names(folder, ".parquet"):
        for line in store.read_columns(f"{folder}/{name}", _COLUMNS).to_pylist():
            held.add(Draw(**line))
    return held


def pairs(benchmark: str, problems: Mapping[str, Mapping[str, Draws]]) -> Iterator[dict[str, Any]]:
    """Every two models compared, the later one minus the earlier: student minus base is what a reader looks for.

    Runs with a thought budget are points of a model's curve, no models of their own.
    """
    whole = [model for model in problems if budget_of(model)[1] is None]
    single = {model: rates(problems[model]) for model in whole}
    majority = {model: majority_rates(problems[model]) for model in whole}
    for b, a in combinations(whole, 2):
        found = compare(single[a], single[b])
        if found is not None:
            line = {"benchmark": benchmark, "a": a, "b": b, **_as_json(found)}
            yield line | _majority(a, b, problems, compare(majority[a], majority[b]))


def _as_json(found: Difference) -> dict[str, Any]:
    return {
        "problems": found.problems,
        "a_mean": found.a_mean,
        "b_mean": found.b_mean,
        "difference": found.difference,
        "ci95": found.ci95,
        "p_value": found.p_value,
        "problems_needed": found.problems_needed,
        "detectable": found.detectable,
    }


def _majority(a: str, b: str, problems: Mapping[str, Mapping[str, Draws]], found: Difference | None) -> dict[str, Any]:
    """The same for the majority of all draws, where there is more than one to vote."""
    several = max(draws.num_draws for model in (a, b) for draws in problems[model].values()) > 1
    return {f"maj_{name}": value for name, value in _as_json(found).items()} if found and several else {}


def _points(scores: Mapping[str, Score]) -> dict[str, list[dict[str, object]]]:
    return {model: [point.as_json() for point in points] for model, points in curve(scores).items()}
