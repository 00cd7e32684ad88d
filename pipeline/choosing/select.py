"""Select among all candidates at once: who is chosen, why each other is not, and the preference pairs.

Memory is about 200 bytes a fit candidate: 2 GB for 10 million. The result depends on the candidates alone, not on the
order in which they are given.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.choose import ChooseSettings
from pipeline.choosing.allocate import Shortfall, allocate
from pipeline.choosing.bounds import Bools, Cells, cells_of, check_named, outside_of_bands
from pipeline.choosing.fill import Filling, fill
from pipeline.choosing.order import Ints, by_seed, codes, preferred, problem_turns, turns
from pipeline.choosing.pairs import pairs_of
from pipeline.errors import Stop

Codes = npt.NDArray[np.int32]

CHOSEN = -1
_WRONG = ("wrong", "")


@dataclass(frozen=True, slots=True)
class Selection:
    """What became of the pool: its rows in the seed's order, each one's reason by its number (CHOSEN where it is in the
    data set), the reasons (name and why), and the pairs as rows (chosen, rejected)."""

    pool: pa.Table
    reason: Codes
    reasons: tuple[tuple[str, str], ...]
    pairs: Ints
    shortfalls: tuple[Shortfall, ...]

    @property
    def chosen(self) -> Bools:
        """Whether each row is in the data set."""
        return np.asarray(self.reason == CHOSEN)


def select(pool: pa.Table, *, settings: ChooseSettings, known: Mapping[str, Sequence[str]]) -> Selection:
    """Choose among candidates. `pool` has their columns and those of any more; rejectable ones are for pairs alone.

    `known` holds all groups of each dimension that quotas can name. Raises Stop when a quota names another, when
    nothing can be chosen, and, unless short is allowed, when a count can't be reached.
    """
    check_named(settings, known)
    pool = by_seed(pool)
    rejectable = np.asarray(pool["rejectable"].combine_chunks().to_numpy(zero_copy_only=False), dtype=np.bool_)
    fit = np.flatnonzero(~rejectable)
    left = _Left(pool.take(fit), settings)
    left.cap()
    shortfalls = left.choose()
    reason, rank = np.zeros(pool.num_rows, dtype=np.int32), np.zeros(pool.num_rows, dtype=np.int64)
    reason[fit], rank[fit] = left.reason, left.turn
    pairs = pairs_of(pool, reason == CHOSEN, rejectable, rank, settings.pairs)
    return Selection(pool, reason, tuple(left.reasons), pairs, shortfalls)


class _Left:
    """The fit candidates in the seed's order, and why those of them that are not chosen are left out."""

    def __init__(self, pool: pa.Table, settings: ChooseSettings) -> None:
        self.pool, self.settings = pool, settings
        self.tokens = np.asarray(pool["student_tokens"], dtype=np.int64)
        self.turn = problem_turns(pool, settings)
        self.reason: Codes = np.full(pool.num_rows, CHOSEN, dtype=np.int32)
        # What is in the pool for pairs alone has a reason already; it is the first.
        self.reasons = [_WRONG]

    def cap(self) -> None:
        """Leave out what is one too many for its problem or its cluster, and what no band takes."""
        most, settings = self.settings.per_problem, self.settings
        self._leave(self.turn >= most, "enough", f"its problem has {most} already (per_problem)")
        self._leave(outside_of_bands(self.pool, settings), "no_band", "its pass rate is in none of the bands")
        if (most_of := settings.variety.per_cluster) is not None:
            rows = self._rows()
            many = np.zeros(len(self.reason), dtype=np.bool_)
            turn = turns(codes(self.pool["cluster"])[rows], np.lexsort((self.turn[rows],)))
            many[rows] = turn >= most_of
            why = f"problems that say the same have {most_of} already (variety.per_cluster)"
            self._leave(many, "too_many_of_cluster", why)

    def choose(self) -> tuple[Shortfall, ...]:
        """Take the target's rows or tokens, within the quotas, in the order of preference."""
        rows, settings = self._rows(), self.settings
        pool = self.pool.take(rows)
        cells, tokens = cells_of(pool, settings), self.tokens[rows]
        mean = np.bincount(cells.of, weights=tokens, minlength=len(cells.sizes)) / np.maximum(1, cells.sizes)
        found = allocate(cells, mean_tokens=mean, target=settings.target)
        counts, shortfalls = found.counts, found.shortfalls
        chosen = np.ones(len(rows), dtype=np.bool_)
        if counts.sum() < len(rows) or settings.target.tokens is not None:
            order = preferred(pool, problem_turn=self.turn[rows], cells=cells.of, settings=settings)
            chosen = turns(cells.of, order) < counts[cells.of]
            if settings.target.tokens is not None:
                shortfalls += _fill(cells, tokens, order, chosen, counts, settings.target.tokens)
                counts = np.bincount(cells.of[chosen], minlength=len(cells.sizes))
        _check(shortfalls, cells, counts, settings)
        for cell in range(len(cells.sizes)):
            drop, why = _reason(cells, counts, cell, settings)
            out = np.zeros(len(self.reason), dtype=np.bool_)
            out[rows[(cells.of == cell) & ~chosen]] = True
            self._leave(out, drop, why)
        return shortfalls

    def _rows(self) -> Ints:
        return np.flatnonzero(self.reason == CHOSEN)

    def _leave(self, which: Bools, drop: str, why: str) -> None:
        which = which & (self.reason == CHOSEN)
        if which.any():
            self.reason[which] = len(self.reasons)
            self.reasons.append((drop, why))


def _fill(cells: Cells, tokens: Ints, order: Ints, chosen: Bools, counts: Ints, wanted: int) -> tuple[Shortfall, ...]:
    """Make the chosen fit the target of tokens; what is missing where there are not enough examples for it."""
    by_cell = order[np.argsort(cells.of[order], kind="stable")]
    rows = np.split(by_cell, np.cumsum(cells.sizes)[:-1])
    filling = Filling(cells, tokens, rows, chosen, counts.copy(), wanted - int(tokens[chosen].sum()))
    fill(filling)
    if filling.gap < 0:
        needed = wanted - filling.gap
        raise Stop(f"choose.target.tokens={wanted}: the quotas alone need {needed} tokens; raise it or lower them")
    # Any one example more would still have fitted: it is examples that are missing.
    if filling.gap > int(tokens.max(initial=0)):
        return (Shortfall(f"choose.target.tokens={wanted}", wanted, wanted - filling.gap),)
    return ()


def _check(shortfalls: Sequence[Shortfall], cells: Cells, counts: Ints, settings: ChooseSettings) -> None:
    """Raise Stop when nothing at all is chosen, and, unless short is allowed, for what can't be met."""
    used_up = [
        f"{bound.group} has {int(cells.sizes[bound.cells].sum())}"
        for bound in cells.bounds
        if bound.low > -np.inf and counts[bound.cells].sum() == cells.sizes[bound.cells].sum()
    ]
    beside = f" (all used up: {', '.join(dict.fromkeys(used_up))})" if used_up else ""
    fit, made = int(cells.sizes.sum()), int(counts.sum())
    if not made:
        asked = ", ".join(dict.fromkeys(bound.what for bound in cells.bounds))
        raise Stop(f"nothing can be chosen of {fit} fit traces: no choice meets {asked or 'choose'}{beside}")
    if shortfalls and not settings.allow_short:
        said = "; ".join(f"{one.what}: {one.got} can be had, {one.wanted - one.got} are missing" for one in shortfalls)
        raise Stop(f"{said}{beside}; choose.allow_short=true makes what there is")
    wanted = settings.target.rows or settings.target.tokens
    if not wanted and not settings.allow_short and 2 * made < fit and any(bound.share for bound in cells.bounds):
        # Shares always hold, if need be by leaving nearly everything out: nobody means that.
        fix = "lower them, set a target, or choose.allow_short=true makes it so"
        raise Stop(f"the shares asked for leave {made} of {fit} fit traces{beside}; {fix}")


def _reason(cells: Cells, counts: Ints, cell: int, settings: ChooseSettings) -> tuple[str, str]:
    """Why the candidates of a cell that are not chosen are not."""
    for bound in cells.bounds:
        line = float(bound.line @ counts)
        if bound.cells[cell] and line + 1 - bound.share > bound.high + 1e-6:
            return "over_quota", f"{bound.group} is full ({bound.what})"
    target = settings.target
    if target.rows is not None and counts.sum() >= target.rows:
        return "not_needed", f"the target of {target.rows:,} examples is met"
    for bound in cells.bounds:
        if not bound.cells[cell] and bound.share and float(bound.line @ counts) - bound.share < bound.low - 1e-6:
            return "over_quota", f"more would leave {bound.group} too small a share ({bound.what})"
    if target.tokens is not None:
        return "not_needed", f"the target of {target.tokens:,} tokens is met"
    return "over_quota", "the quotas together leave no room for it"
