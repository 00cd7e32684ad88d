"""Arms against each other: rates of problems in, every pair's difference on the same problems out.

An arm may have been trained several times, with other seeds. Its rate on a problem is then the mean over its runs, so
that an interval is one over problems; how far the runs are apart stands beside it, and is not in it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from pipeline.scores.intervals import interval
from pipeline.scores.paired import compare
from pipeline.scores.score import Tally, rates

Rates = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Scored:
    """One arm on one benchmark: problem id -> rate, of each of its runs, and the draws that these were made from."""

    runs: tuple[Rates, ...]
    judged: int
    undecided: int

    @property
    def mean(self) -> dict[str, float]:
        """Problem id -> the mean rate of the runs that have one."""
        problems = sorted({problem for run in self.runs for problem in run})
        held = {problem: [run[problem] for run in self.runs if problem in run] for problem in problems}
        return {problem: sum(values) / len(values) for problem, values in held.items()}

    def as_json(self) -> dict[str, Any]:
        """pass@1 with its 95 % interval over problems, and each run's own."""
        mean = self.mean
        found = list(mean.values())
        return {
            "problems": len(found),
            "pass@1": sum(found) / len(found) if found else None,
            "ci95": interval(found, draws=self.judged) if found else None,
            "runs": [sum(run.values()) / len(run) if run else None for run in self.runs],
            "undecided": self.undecided,
        }


def scored(tallies: Sequence[Mapping[str, Tally]]) -> dict[str, Scored]:
    """An arm's scores by benchmark, and on "all" where there are several, from the tallies of each of its runs."""
    benchmarks = list(tallies[0])
    found = {name: _scored([{name: run[name]} for run in tallies]) for name in benchmarks}
    return found if len(benchmarks) < 2 else {**found, "all": _scored(tallies)}


def paired(arms: Mapping[str, Mapping[str, Scored]]) -> list[dict[str, Any]]:
    """Every two arms on every benchmark, the later one minus the earlier; `runs` are the differences seed by seed.

    p_holm is the p-value after Holm's step-down correction (1979) for all pairs of the same benchmark.
    """
    lines: list[dict[str, Any]] = []
    for benchmark in next(iter(arms.values()), {}):
        of_it = []
        for b, a in combinations(arms, 2):
            ours, theirs = arms[a][benchmark], arms[b][benchmark]
            if (found := compare(ours.mean, theirs.mean)) is not None:
                runs = _by_run(ours, theirs)
                of_it.append({"benchmark": benchmark, "a": a, "b": b, **asdict(found), "runs": runs})
        for line, p_value in zip(of_it, holm([line["p_value"] for line in of_it]), strict=True):
            lines.append({**line, "p_holm": p_value})
    return lines


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number: the k-th smallest of m times m - k + 1, never falling, at most 1."""
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    corrected, highest = [0.0] * len(p_values), 0.0
    for before, place in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - before) * p_values[place]))
        corrected[place] = highest
    return corrected


def _scored(tallies: Sequence[Mapping[str, Tally]]) -> Scored:
    every = [draws for run in tallies for held in run.values() for draws in held.problems.values()]
    return Scored(
        # Two benchmarks may hold the same problem.
        runs=tuple(
            {f"{name}/{problem}": rate for name, held in run.items() for problem, rate in rates(held.problems).items()}
            for run in tallies
        ),
        judged=sum(draws.num_judged for draws in every),
        undecided=sum(draws.verdicts["undecided"] for draws in every),
    )


def _by_run(ours: Scored, theirs: Scored) -> list[float]:
    """The difference of each two runs that stand side by side; an arm with one run stands beside all of the other's."""
    most = max(len(ours.runs), len(theirs.runs))
    sides = [scored.runs * most if len(scored.runs) == 1 else scored.runs for scored in (ours, theirs)]
    found = [compare_means(a, b) for a, b in zip(*sides, strict=True)]
    return [difference for difference in found if difference is not None]


def compare_means(a: Rates, b: Rates) -> float | None:
    """The mean difference on the problems that both have, None without any."""
    shared = sorted(set(a) & set(b))
    return sum(a[problem] - b[problem] for problem in shared) / len(shared) if shared else None
