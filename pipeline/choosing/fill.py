"""Make the tokens of the chosen examples fit a target: as near below it as examples allow, within all bounds.

An exact answer is a knapsack; this goes on in single steps (leave one out, take one, change one for another of its
cell) until none comes nearer, among the examples that stand next in the order of each cell.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.choosing.bounds import Bools, Bound, Cells, Floats
from pipeline.choosing.order import Ints

_NEXT = 2048
_SWAPS = 200
_ROOM = 1e-6


@dataclass
class Filling:
    """Which candidates are chosen so far; rows of a cell stand in the order in which they are taken."""

    cells: Cells
    tokens: Ints
    rows: list[Ints]
    """Of each cell, its candidates in order; only those near the place where the chosen end are looked at."""
    chosen: Bools
    counts: Ints
    gap: int
    """Tokens up to the target; below 0 there are too many."""

    def __post_init__(self) -> None:
        bounds = self.cells.bounds
        self.lines: Floats = np.array([bound.line for bound in bounds]).reshape(len(bounds), len(self.rows))
        self.lows = np.array([_low(bound, self.counts) for bound in bounds])
        self.highs = np.array([bound.high for bound in bounds])
        self.look()

    def look(self) -> None:
        """Look at the place where the chosen of each cell end now."""
        ends = zip(self.rows, self.counts.tolist(), strict=True)
        self.near = [rows[max(0, end - _NEXT) : end + _NEXT] for rows, end in ends]

    def allowed(self, step: int) -> Ints:
        """The cells that may give one example more (1) or less (-1)."""
        after = (self.lines @ self.counts)[:, None] + step * self.lines
        fits = (after >= self.lows[:, None] - _ROOM) & (after <= self.highs[:, None] + _ROOM)
        left = self.counts > 0 if step < 0 else self.counts < self.cells.sizes
        return np.flatnonzero(fits.all(axis=0) & left)

    def last(self, cell: int) -> Ints:
        """The chosen of a cell that stand last."""
        rows = self.near[cell]
        return rows[self.chosen[rows]]

    def next(self, cell: int) -> Ints:
        """Those of a cell that stand next and are not chosen."""
        rows = self.near[cell]
        return rows[~self.chosen[rows]]

    def change(self, cell: int, *, out: int | None = None, into: int | None = None) -> None:
        """Leave one out, take one, or both."""
        for row, step in ((out, -1), (into, 1)):
            if row is not None:
                self.chosen[row] = step > 0
                self.counts[cell] += step
                self.gap -= step * int(self.tokens[row])


def fill(filling: Filling) -> None:
    """Bring the tokens to the target. `gap` stays below 0 only if the bounds alone need more tokens."""
    while filling.gap < 0 and _any(filling, _leave_one, _swap):
        pass
    while filling.gap > 0 and _any(filling, _take_one):
        pass
    for _ in range(_SWAPS):
        if filling.gap <= 0 or not _swap(filling):
            break
    while filling.gap > 0 and _any(filling, _take_one):
        pass


def _any(filling: Filling, *steps: Callable[[Filling], bool]) -> bool:
    """Whether a step could be made, if need be after looking where the chosen end by now."""
    if any(step(filling) for step in steps):
        return True
    filling.look()
    return any(step(filling) for step in steps)


def _low(bound: Bound, counts: Ints) -> float:
    """What a bound's line must reach: where a soft one is short already, no less than it has."""
    return min(bound.low, float(bound.line @ counts)) if bound.soft else bound.low


def _leave_one(filling: Filling) -> bool:
    """Leave out the one that ends nearest below the target, or else the longest."""
    best: tuple[int, int, int] | None = None
    for cell in filling.allowed(-1):
        rows = filling.last(int(cell))[::-1]
        if not len(rows):
            continue
        after = filling.gap + filling.tokens[rows]
        at = int(np.argmin(np.where(after >= 0, after, np.iinfo(np.int64).max // 2 - after)))
        mark = int(after[at])
        found = (mark if mark >= 0 else (1 << 60) - mark, int(rows[at]), int(cell))
        best = found if best is None else min(best, found)
    if best is None:
        return False
    filling.change(best[2], out=best[1])
    return True


def _take_one(filling: Filling) -> bool:
    """Take the longest that fits among those that stand next."""
    best: tuple[int, int, int] | None = None
    for cell in filling.allowed(1):
        rows = filling.next(int(cell))
        if not len(rows):
            continue
        lengths = np.where(filling.tokens[rows] <= filling.gap, filling.tokens[rows], -1)
        at = int(np.argmax(lengths))
        if lengths[at] >= 0:
            found = (-int(lengths[at]), int(rows[at]), int(cell))
            best = found if best is None else min(best, found)
    if best is None:
        return False
    filling.change(best[2], into=best[1])
    return True


def _swap(filling: Filling) -> bool:
    """Change one for another of its cell so that the tokens come nearest below the target, or nearer from above."""
    best = min(_swaps(filling), default=None)
    if best is None:
        return False
    _, cell, out, into = best
    filling.change(cell, out=out, into=into)
    return True


def _swaps(filling: Filling) -> Iterator[tuple[int, int, int, int]]:
    """The best change of each cell, with the mark that it leads to: tokens below the target, or far more above it."""
    for cell in range(len(filling.rows)):
        outs, intos = filling.last(cell), filling.next(cell)
        if not len(outs) or not len(intos):
            continue
        intos = intos[np.argsort(filling.tokens[intos], kind="stable")]
        lengths: npt.NDArray[np.int64] = filling.tokens[intos]
        at = np.searchsorted(lengths, filling.tokens[outs] + filling.gap, side="right") - 1
        after = filling.gap + filling.tokens[outs] - lengths[np.maximum(at, 0)]
        marks = np.where(after >= 0, after, (1 << 60) - after)
        place = int(np.argmin(marks))
        now = filling.gap if filling.gap >= 0 else (1 << 60) - filling.gap
        if marks[place] < now:
            yield int(marks[place]), cell, int(outs[place]), int(intos[max(int(at[place]), 0)])
