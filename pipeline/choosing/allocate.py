"""How many examples each cell gives: an integer program over cells, solved exactly (HiGHS, by scipy).

Its size is the number of cells, not of candidates. First as much as possible is made of what is asked; then, of all the
answers that reach that, one is taken whose mix is near to the mix of what there is.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.choose import Target
from pipeline.choosing.bounds import Cells, Floats
from pipeline.choosing.order import Ints

# Where the cost of leaving the natural mix is measured: parts by which a cell falls below or rises above it.
_STEPS = (-1.0, -0.75, -0.5, -0.25, -0.1, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
# The mix is a matter of taste: near the best is good enough. Counts are exact.
_MIX_GAP = 0.01
_TOKENS_GAP = 1e-4
_NODES = 10_000
# Sums of whole numbers are held to less than one, so that a solver's rounding makes no answer impossible.
_ROOM = 0.5
# Examples; shares of millions are no exact numbers.
_TOLERANCE = 5e-5


@dataclass(frozen=True, slots=True)
class Shortfall:
    """A count of the recipe that can't be reached."""

    what: str
    wanted: int
    got: int


@dataclass(frozen=True, slots=True)
class Allocation:
    """The examples of each cell."""

    counts: Ints
    shortfalls: tuple[Shortfall, ...]


def allocate(cells: Cells, *, mean_tokens: Floats, target: Target) -> Allocation:
    """The most examples (or the target's), within all bounds.

    With a target of tokens a cell is reckoned with its mean: the tokens are made exact when traces are picked.
    """
    if not cells.bounds:
        counts = _alone(cells.sizes, mean_tokens, target)
        return Allocation(counts, _shortfalls(cells, counts, target))
    program = _Program(cells, mean_tokens, target)
    total = program.rows if target.tokens is None else program.tokens
    if target.rows is not None:
        # A target comes before what a group is short of.
        program.hold(total, program.most(total))
    if program.num_soft:
        program.hold(program.missing, -program.most(-program.missing), below=True)
    if target.tokens is None:
        program.hold(total, program.most(total))
    else:
        # Means are fractions, and tokens are made exact later: near the most is enough, and soon found.
        program.hold(total, program.most(total, gap=_TOKENS_GAP) - 1)
    counts = program.natural(round(program.reached(program.rows)))
    return Allocation(counts, _shortfalls(cells, counts, target))


def _alone(sizes: Ints, mean_tokens: Floats, target: Target) -> Ints:
    """What is taken of the one cell that there is where nothing is bounded."""
    most = sizes
    if target.rows is not None:
        most = np.full_like(sizes, target.rows)
    elif target.tokens is not None:
        most = (target.tokens / np.maximum(mean_tokens, 1)).astype(np.int64)
    return np.minimum(sizes, most)


def _shortfalls(cells: Cells, counts: Ints, target: Target) -> tuple[Shortfall, ...]:
    found = []
    if target.rows is not None and counts.sum() < target.rows:
        found.append(Shortfall(f"choose.target.rows={target.rows}", target.rows, int(counts.sum())))
    for bound in cells.bounds:
        got = int(counts[bound.cells].sum())
        if bound.soft and got < bound.low:
            found.append(Shortfall(bound.what, int(bound.low), got))
    return tuple(found)


@dataclass
class _Program:
    """The variables are the cells' counts, what each soft bound is short of, and each cell's cost of its mix."""

    cells: Cells
    mean_tokens: Floats
    target: Target
    lines: list[tuple[Floats, float, float]] = field(default_factory=list)
    solution: Floats | None = None

    def __post_init__(self) -> None:
        soft = [bound for bound in self.cells.bounds if bound.soft]
        self.size, self.num_soft = len(self.cells.sizes), len(soft)
        for bound in self.cells.bounds:
            line = self._line(bound.line)
            if bound.soft:
                line[self.size + soft.index(bound)] = 1
            self.lines.append((line, bound.low, bound.high))
        if self.target.rows is not None:
            self.lines.append((self.rows, -np.inf, self.target.rows))
        if self.target.tokens is not None:
            self.lines.append((self.tokens, -np.inf, self.target.tokens / self._scale))

    @property
    def rows(self) -> Floats:
        """The number of all examples."""
        return self._line(np.ones(self.size))

    @property
    def tokens(self) -> Floats:
        """The tokens of all examples, in examples of mean length."""
        return self._line(self.mean_tokens / self._scale)

    @property
    def missing(self) -> Floats:
        """What all soft bounds are short of."""
        line = self._line(np.zeros(self.size))
        line[self.size :] = 1
        return line

    @property
    def _scale(self) -> float:
        return max(1.0, float(self.cells.sizes @ self.mean_tokens) / max(1, int(self.cells.sizes.sum())))

    def most(self, line: Floats, *, gap: float = 0.0) -> float:
        """The greatest value that a line can have, or one that is below it by no more than a share `gap`."""
        found = _solve(-line, *self._bounded(0), self._upper(0), whole=self.size, gap=gap)
        # At first nothing at all meets every bound but the soft ones, which may be short; later there is the answer
        # before, which holds what was reached.
        self.solution = found if found is not None else self.solution
        if self.solution is None:
            self.solution = np.zeros(self.size + self.num_soft)
        return self.reached(line)

    def reached(self, line: Floats) -> float:
        """A line's value at the last solution."""
        assert self.solution is not None
        return float(line @ self.solution)

    def hold(self, line: Floats, value: float, *, below: bool = False) -> None:
        """Keep what was reached: a line stays at or above a value, or at or below it."""
        self.lines.append((line, -np.inf, value + _ROOM) if below else (line, value - _ROOM, np.inf))

    def natural(self, total: int) -> Ints:
        """The counts near to the mix of what there is, by the chi-square distance: (count - natural)^2 / natural.

        Its tangents bound each cell's cost from below.
        """
        from scipy.sparse import coo_array, vstack

        share = self.cells.sizes * (total / max(1, int(self.cells.sizes.sum())))
        width, (lines, lows, highs) = self.size + self.num_soft, self._bounded(self.size)
        cell, tangents = np.arange(self.size), []
        for step in _STEPS:
            values = np.r_[np.full(self.size, -2 * step), np.ones(self.size)]
            at = (np.r_[cell, cell], np.r_[cell, width + cell])
            tangents.append(coo_array((values, at), shape=(self.size, width + self.size)))
            lows, highs = np.r_[lows, -share * step * (2 + step)], np.r_[highs, np.full(self.size, np.inf)]
        aim = np.r_[np.zeros(width), np.ones(self.size)]
        matrix = vstack([lines, *tangents])
        solution = _solve(aim, matrix, lows, highs, self._upper(self.size), whole=self.size, gap=_MIX_GAP)
        if solution is None:
            # Bounds may leave so little room that rounding hides it: the answer before is right, only less natural.
            solution = self.solution
        assert solution is not None
        return np.rint(solution[: self.size]).astype(np.int64)

    def _line(self, over_cells: Floats) -> Floats:
        return np.concatenate([over_cells.astype(np.float64), np.zeros(self.num_soft)])

    def _bounded(self, more: int) -> tuple[Any, Floats, Floats]:
        """The lines as a matrix with so many further columns, and their bounds."""
        from scipy.sparse import csr_array

        width = self.size + self.num_soft
        matrix = np.zeros((len(self.lines), width + more))
        for number, (line, _, _) in enumerate(self.lines):
            matrix[number, :width] = line
        lows, highs = (np.array([line[place] for line in self.lines], dtype=np.float64) for place in (1, 2))
        return csr_array(matrix), lows, highs

    def _upper(self, more: int) -> Floats:
        return np.concatenate([self.cells.sizes.astype(np.float64), np.full(self.num_soft + more, np.inf)])


def _solve(
    aim: Floats, matrix: Any, lows: Floats, highs: Floats, upper: Floats, *, whole: int, gap: float
) -> Floats | None:
    """The least of `aim` within the lines, or None where nothing is found; the first `whole` variables are whole
    numbers, and all are at least 0."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    # HiGHS's presolve calls some programs of large counts infeasible that have answers.
    for presolve in (True, False):
        found = milp(
            aim,
            integrality=np.arange(len(aim)) < whole,
            bounds=Bounds(0, upper),
            constraints=LinearConstraint(matrix, lows - _TOLERANCE, highs + _TOLERANCE),
            # No limit of time: another machine's speed must not change what is chosen.
            options={"mip_rel_gap": gap, "node_limit": _NODES, "presolve": presolve},
        )
        if found.x is not None:
            return np.asarray(found.x)
    return None
