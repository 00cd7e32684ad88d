"""maj@k: how often the answer that most of k draws give is right, exactly, over all subsets of k of the n draws.

Answers vote by their class of equal answers, blind to the gold answer. Tied classes share a win equally. A draw without
an answer votes for nothing; where none of the k draws votes, the result is wrong (undecided if one of them is).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MOST_DRAWS = 256
"""Beyond it the exact count takes seconds a problem."""

Floats = npt.NDArray[np.float64]

# What is carried from class to class: subsets, and in how many of them a right or an undecided class is in the lead,
# counted once for each such class.
_SUBSETS, _RIGHT, _UNDECIDED = range(3)


@dataclass(frozen=True, slots=True)
class Camp:
    """Draws that give equal answers, and how that answer was judged: correct, wrong or undecided."""

    draws: int
    verdict: str


@dataclass(frozen=True, slots=True)
class Ballot:
    """All draws of a problem: those that vote, and those without an answer by their verdict."""

    camps: tuple[Camp, ...]
    silent_wrong: int = 0
    silent_undecided: int = 0

    @property
    def draws(self) -> int:
        """How many there are."""
        return sum(camp.draws for camp in self.camps) + self.silent_wrong + self.silent_undecided


@dataclass(frozen=True, slots=True)
class Outcome:
    """The shares of all subsets whose majority is right, and whose majority could not be judged; the rest is wrong."""

    right: float
    undecided: float

    @property
    def rate(self) -> float | None:
        """The share of right among the judged, as in pass@1; None where nothing was judged."""
        judged = 1 - self.undecided
        return min(1.0, self.right / judged) if judged > 1e-12 else None


def majority(ballot: Ballot) -> Outcome:
    """The outcome when all draws vote."""
    if not ballot.camps:
        return Outcome(0.0, float(ballot.silent_undecided > 0))
    most = max(camp.draws for camp in ballot.camps)
    leaders = [camp.verdict for camp in ballot.camps if camp.draws == most]
    return Outcome(leaders.count("correct") / len(leaders), leaders.count("undecided") / len(leaders))


def majorities(ballot: Ballot, ks: Sequence[int]) -> list[Outcome]:
    """The outcome for every k; each must be from 1 to the ballot's draws, and those at most MOST_DRAWS.

    For each number of votes that can win, the classes are taken one by one while counting the subsets by their size and
    by how many classes stand at that number with none above it.
    """
    assert ballot.draws <= MOST_DRAWS, f"{ballot.draws=}"
    assert all(1 <= k <= ballot.draws for k in ks), f"{ks=} {ballot.draws=}"
    top = max(ks)
    right, undecided = np.zeros(top + 1), _nobody_votes(ballot, top)
    for votes in range(1, min(top, max((camp.draws for camp in ballot.camps), default=0)) + 1):
        won = _won_with(ballot, votes, top)
        right += won[_RIGHT]
        undecided += won[_UNDECIDED]
    sizes = [float(math.comb(ballot.draws, k)) for k in ks]
    return [Outcome(float(right[k] / of), float(undecided[k] / of)) for k, of in zip(ks, sizes, strict=True)]


def _nobody_votes(ballot: Ballot, top: int) -> Floats:
    """By size: the subsets without a vote that hold an undecided draw."""
    return _choose(ballot.silent_wrong + ballot.silent_undecided, top) - _choose(ballot.silent_wrong, top)


def _won_with(ballot: Ballot, votes: int, top: int) -> Floats:
    """By kind and size of subset: the wins with so many votes, each shared among the classes that are tied."""
    racing = [camp for camp in ballot.camps if camp.draws >= votes]
    ties = min(len(racing), top // votes)
    ways = np.zeros((top + 1, 3, ties + 1))
    # All others can't reach that number: they may be in a subset in any way.
    ways[:, _SUBSETS, 0] = _choose(ballot.draws - sum(camp.draws for camp in racing), top)
    for camp in racing:
        ways = _with(camp, ways, votes)
    shared: Floats = (ways[:, :, 1:] / np.arange(1, ties + 1)).sum(axis=2).T
    return shared


def _with(camp: Camp, ways: Floats, votes: int) -> Floats:
    """Count a class in: it has fewer votes, or exactly that number and is tied for the lead."""
    size = len(ways)
    after = ways.copy() if votes == 1 else _fewer(camp, ways, votes)
    tied = math.comb(camp.draws, votes) * ways[: size - votes, :, :-1]
    after[votes:, :, 1:] += tied
    if camp.verdict != "wrong":
        after[votes:, _RIGHT if camp.verdict == "correct" else _UNDECIDED, 1:] += tied[:, _SUBSETS]
    return after


def _fewer(camp: Camp, ways: Floats, votes: int) -> Floats:
    """The subsets with fewer than so many of its draws added."""
    size = len(ways)
    chosen = _choose(camp.draws, size - 1)
    chosen[votes:] = 0
    apart = np.arange(size)[:, None] - np.arange(size)[None, :]
    convolve = np.tril(chosen[np.abs(apart)])
    added: Floats = (convolve @ ways.reshape(size, -1)).reshape(ways.shape)
    return added


def _choose(of: int, top: int) -> Floats:
    """C(of, 0), C(of, 1), ... C(of, top)."""
    return np.array([float(math.comb(of, taken)) for taken in range(top + 1)])
