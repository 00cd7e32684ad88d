"""What a model scored, with how sure that is. In: verdicts, problem by problem; out: pass@1, pass@k, maj@k, intervals.

`undecided` draws count neither as right nor as wrong; how many there were is part of every score, and so is what is
left when all of them are counted as wrong.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pipeline.scores.intervals import interval
from pipeline.scores.passes import enough, ladder, pass_at
from pipeline.scores.votes import MOST_DRAWS, Ballot, Camp, majorities, majority


class Judged(Protocol):
    """What a score needs to know of a draw; a Trace is one, and so is a row that someone else wrote."""

    @property
    def id(self) -> str:
        """The problem."""
        ...

    @property
    def verdict(self) -> str | None:
        """correct, wrong, undecided, or None where there was nothing to judge."""
        ...

    @property
    def vote(self) -> int | None:
        """The class of equal answers among the problem's draws, None without an answer."""
        ...

    @property
    def finish_reason(self) -> str:
        """length when it was truncated."""
        ...

    @property
    def thought_tokens(self) -> int:
        """Tokens of the thought."""
        ...

    @property
    def reply_tokens(self) -> int:
        """Tokens of the reply."""
        ...

    @property
    def drop(self) -> str | None:
        """Why there was no reply, None when there was one."""
        ...


@dataclass(slots=True)
class Draws:
    """How the draws of one problem were judged; `votes` by class of equal answers, `silent` those without an answer."""

    verdicts: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    votes: dict[int, Counter[str]] = field(default_factory=dict)
    silent: Counter[str] = field(default_factory=Counter)

    def add(self, draw: Judged) -> None:
        """Count a draw in; one without a reply or without a verdict is refused."""
        if draw.drop is not None or draw.verdict is None:
            self.refused += 1
            return
        self.verdicts[draw.verdict] += 1
        votes = self.silent if draw.vote is None else self.votes.setdefault(draw.vote, Counter())
        votes[draw.verdict] += 1

    @property
    def right(self) -> int:
        """Draws that are correct."""
        return self.verdicts["correct"]

    @property
    def num_judged(self) -> int:
        """Draws that are correct or wrong."""
        return self.verdicts["correct"] + self.verdicts["wrong"]

    @property
    def num_draws(self) -> int:
        """All draws."""
        return self.verdicts.total() + self.refused

    @property
    def rate(self) -> float | None:
        """The share of right draws among the judged ones, None without any."""
        return self.right / self.num_judged if self.num_judged else None

    @property
    def voted(self) -> bool:
        """Whether its draws carry votes: a right one without a class of answers says that nobody told classes apart."""
        return self.silent["correct"] == 0

    @property
    def ballot(self) -> Ballot | None:
        """The draws as votes, None where none can be held. A class whose draws were not all judged alike is undecided:
        either its answers are not equal after all, or one of the verdicts is not right."""
        if not self.voted or not 0 < self.verdicts.total() <= MOST_DRAWS:
            return None
        camps = [
            Camp(verdicts.total(), next(iter(verdicts)) if len(verdicts) == 1 else "undecided")
            for verdicts in self.votes.values()
        ]
        camps.sort(key=lambda camp: (-camp.draws, camp.verdict))
        return Ballot(tuple(camps), self.silent["wrong"], self.silent["undecided"])


@dataclass(slots=True)
class Tally:
    """All draws of a model on a benchmark: what every score is made of, without any text."""

    problems: dict[str, Draws] = field(default_factory=dict)
    samples: int = 0
    answered: int = 0
    tokens: int = 0
    truncated: int = 0

    def add(self, draw: Judged) -> None:
        """Count a draw in."""
        self.problems.setdefault(draw.id, Draws()).add(draw)
        self.samples += 1
        if draw.drop is None:
            self.answered += 1
            self.tokens += draw.thought_tokens + draw.reply_tokens
            self.truncated += draw.finish_reason == "length"


@dataclass(frozen=True, slots=True)
class At:
    """pass@k or maj@k: the mean over the problems that it can be told of; `left_out` counts the others.

    pass@k can be told of a problem with at least k judged draws; maj@k of one with at least k draws to vote on, not all
    of whose majorities are undecided. `low` is of the same problems, so never above `share`: undecided draws (for maj@k
    undecided majorities) count as wrong, for pass@k refused draws too. What is left out is in neither.
    """

    k: int
    share: float
    low: float
    ci95: tuple[float, float]
    left_out: int


@dataclass(frozen=True, slots=True)
class Score:
    """A model on a benchmark. `pass_at_1` is the mean over problems of the share of right draws, None without any.

    `pass_at_1_low` counts every undecided or refused draw as wrong, and is of all problems: what is left when none of
    the doubts is granted. It is never above pass_at_1, and may be below the `low` of pass@1 in `pass_at`.
    `truncated` is a share of the answered draws, `undecided` a number of draws, `unanswered` the share of answered
    draws in which no answer was found (None where answers were not told apart).
    """

    problems: int
    samples: int
    pass_at_1: float | None
    pass_at_1_low: float
    ci95: tuple[float, float] | None
    mean_tokens: float
    truncated: float
    undecided: int
    unanswered: float | None
    refused: int
    pass_at: tuple[At, ...]
    maj_at: tuple[At, ...]

    @property
    def undecided_share(self) -> float:
        """The share of all draws that are undecided."""
        return self.undecided / max(1, self.samples)

    def as_json(self) -> dict[str, object]:
        """The keys of summary/evaluate.json."""
        said: dict[str, object] = {
            "problems": self.problems,
            "samples": self.samples,
            "pass@1": self.pass_at_1,
            "pass@1_low": self.pass_at_1_low,
            "ci95": self.ci95,
            "mean_tokens": self.mean_tokens,
            "truncated": self.truncated,
            "undecided": self.undecided,
            "undecided_share": self.undecided_share,
            "unanswered": self.unanswered,
            "refused": self.refused,
        }
        for name, found in (("pass@k", self.pass_at), ("maj@k", self.maj_at)):
            said[name] = {str(at.k): at.share for at in found}
            said[f"{name}_low"] = {str(at.k): at.low for at in found}
            said[f"{name}_ci95"] = {str(at.k): at.ci95 for at in found}
            said[f"{name}_left_out"] = {str(at.k): at.left_out for at in found if at.left_out}
        return said


def tally(traces: Iterable[Judged]) -> Tally:
    """The draws counted, one after another; none is kept."""
    held = Tally()
    for trace in traces:
        held.add(trace)
    return held


def rates(problems: Mapping[str, Draws]) -> dict[str, float]:
    """Problem id -> share of right draws among the judged ones; problems without a judged draw are left out."""
    return {problem: draws.rate for problem, draws in problems.items() if draws.rate is not None}


def ballots(problems: Mapping[str, Draws]) -> dict[str, Ballot]:
    """Problem id -> its draws as votes, for the problems whose answers were told apart.

    Right draws without a vote show that there are problems whose answers were not. Then one without any vote may be
    such a problem too: to count it would let only its like that were all wrong in.
    """
    all_voted = all(draws.voted for draws in problems.values()) and any(draws.votes for draws in problems.values())
    return {
        problem: ballot
        for problem, draws in problems.items()
        if (draws.votes or all_voted) and (ballot := draws.ballot) is not None
    }


def majority_rates(problems: Mapping[str, Draws]) -> dict[str, float]:
    """Problem id -> whether the majority of all its draws is right, ties shared; without those that have no verdict."""
    found = {problem: majority(ballot).rate for problem, ballot in ballots(problems).items()}
    return {problem: rate for problem, rate in found.items() if rate is not None}


def score(traces: Iterable[Judged], *, ks: Sequence[int] = (), name: str = "the file") -> Score:
    """The score of one model's traces on one benchmark, which messages call `name`.

    pass@k and maj@k are given for `ks`, or for the powers of two up to the draws of a problem. Raises Stop when a
    problem has fewer draws than one of `ks`.
    """
    held = tally(traces)
    enough({problem: draws.num_draws for problem, draws in held.problems.items()}, ks, name=name)
    return scored(held, ks=ks)


def scored(held: Tally, *, ks: Sequence[int] = ()) -> Score:
    """The score of a tally."""
    problems = list(held.problems.values())
    by_problem = list(rates(held.problems).values())
    ks = ks or ladder(max((draws.num_draws for draws in problems), default=0))
    return Score(
        problems=len(problems),
        samples=held.samples,
        pass_at_1=_mean(by_problem) if by_problem else None,
        pass_at_1_low=_mean([draws.right / draws.num_draws for draws in problems]),
        ci95=interval(by_problem, draws=sum(draws.num_judged for draws in problems)) if by_problem else None,
        mean_tokens=held.tokens / max(1, held.answered),
        truncated=held.truncated / max(1, held.answered),
        undecided=sum(draws.verdicts["undecided"] for draws in problems),
        unanswered=_unanswered(held),
        refused=held.samples - held.answered,
        pass_at=tuple(found for k in ks if (found := _pass_at(k, problems))),
        maj_at=tuple(_maj_at(ks, held)),
    )


def _unanswered(held: Tally) -> float | None:
    voted = list(ballots(held.problems).values())
    silent = sum(ballot.silent_wrong + ballot.silent_undecided for ballot in voted)
    return silent / sum(ballot.draws for ballot in voted) if voted else None


def _pass_at(k: int, problems: Sequence[Draws]) -> At | None:
    counted = [draws for draws in problems if draws.num_judged >= k]
    found = [pass_at(k, right=draws.right, judged=draws.num_judged) for draws in counted]
    low = [pass_at(k, right=draws.right, judged=draws.num_draws) for draws in counted]
    if not found:
        return None
    # pass@1 is the mean that has its interval above: the same draws, the same interval.
    judged = sum(draws.num_judged for draws in counted) if k == 1 else None
    return At(k, _mean(found), _mean(low), interval(found, draws=judged), len(problems) - len(found))


def _maj_at(ks: Sequence[int], held: Tally) -> Iterable[At]:
    # Many problems are voted on alike: each way is worked out once.
    alike = Counter(ballots(held.problems).values())
    rates: dict[int, list[float]] = {k: [] for k in ks}
    low: dict[int, list[float]] = {k: [] for k in ks}
    for ballot, times in alike.items():
        enough_for = [k for k in ks if k <= ballot.draws]
        for k, outcome in zip(enough_for, majorities(ballot, enough_for) if enough_for else (), strict=True):
            if outcome.rate is not None:
                rates[k] += [outcome.rate] * times
                # Rounding alone may lift a certain win above 1.
                low[k] += [min(outcome.right, outcome.rate)] * times
    for k in ks:
        if rates[k]:
            yield At(k, _mean(rates[k]), _mean(low[k]), interval(rates[k]), len(held.problems) - len(rates[k]))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
