"""Quotas and the difficulty mix as bounds on cells.

A cell is all candidates that the quotas can't tell apart: the same named source, subject, level, generation and band.
There are few of them, however many candidates there are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.choose import ChooseSettings, Quota, Quotas
from pipeline.choosing.order import Ints
from pipeline.errors import Stop

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

DIMENSIONS = tuple(Quotas.model_fields)
_SHOWN = 12
# A band may miss its share by less than one example, as whole numbers must.
_LESS_THAN_ONE = 1 - 1e-4
NO_BAND = "no_band"


@dataclass(frozen=True, slots=True)
class Bound:
    """low <= the examples in `cells` minus `share` x all examples <= high. `soft` ones may fall short of low."""

    what: str
    """The setting as a person finds it."""
    group: str
    """The group that it is about."""
    cells: Bools
    low: float
    high: float
    share: float = 0.0
    soft: bool = False

    @property
    def line(self) -> Floats:
        """The bound's coefficients over the cells."""
        return self.cells.astype(np.float64) - self.share


@dataclass(frozen=True, slots=True)
class Cells:
    """The cell of each candidate, and the bounds that hold on the cells."""

    of: Ints
    sizes: Ints
    bounds: tuple[Bound, ...]


def outside_of_bands(pool: pa.Table, settings: ChooseSettings) -> Bools:
    """The candidates that no band takes, where the bands' shares leave no room for them."""
    full = bool(settings.difficulty) and sum(band.share for band in settings.difficulty) > 1 - 1e-9
    return (_bands(pool, settings) < 0) & full


def cells_of(pool: pa.Table, settings: ChooseSettings) -> Cells:
    """The cells of the candidates, numbered in an order that the recipe and the names alone decide."""
    named = {name: sorted(getattr(settings.quotas, name)) for name in DIMENSIONS}
    numbers = {name: _numbers(pool[name], groups) for name, groups in named.items() if groups}
    if settings.difficulty:
        numbers[NO_BAND] = _bands(pool, settings)
    code = np.zeros(pool.num_rows, dtype=np.int64)
    for number in numbers.values():
        code = code * (int(number.max(initial=0)) + 2) + number + 1
    _, first, of, sizes = np.unique(code, return_index=True, return_inverse=True, return_counts=True)
    members = {name: number[first] for name, number in numbers.items()}
    bounds = [bound for name in DIMENSIONS for bound in _quotas(name, named[name], members, settings)]
    bounds += _mix(members.get(NO_BAND), settings)
    return Cells(of=of.astype(np.int64), sizes=sizes.astype(np.int64), bounds=tuple(bounds))


def check_named(settings: ChooseSettings, known: Mapping[str, Sequence[str]]) -> None:
    """Raise Stop for a quota on a group that no trace belongs to. `known` holds the groups of each dimension."""
    for name, there in known.items():
        for group in getattr(settings.quotas, name):
            if group not in there:
                shown = ", ".join(sorted(there)[:_SHOWN]) + (", ..." if len(there) > _SHOWN else "")
                raise Stop(f"choose.quotas.{name}: no trace has the {name} {group!r}; there are {shown or 'none'}")


def _numbers(column: pa.ChunkedArray, groups: Sequence[str]) -> Ints:
    """The place of each value among the named groups, -1 for all others."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(pa.string())
    found = pc.index_in(column, value_set=pa.array(groups, pa.string()))
    return np.asarray(pc.fill_null(found, -1), dtype=np.int64)


def _bands(pool: pa.Table, settings: ChooseSettings) -> Ints:
    rates = np.asarray(pool["pass_rate"].cast(pa.float64()), dtype=np.float64)
    found = np.full(pool.num_rows, -1, dtype=np.int64)
    for number, band in enumerate(sorted(settings.difficulty, key=lambda band: band.low)):
        found[(rates >= band.low) & ((rates < band.high) | (band.high == 1))] = number
    return found


def _quotas(name: str, groups: Sequence[str], members: Mapping[str, Ints], settings: ChooseSettings) -> list[Bound]:
    found = []
    for number, group in enumerate(groups):
        quota: Quota = getattr(settings.quotas, name)[group]
        cells, key, label = members[name] == number, f"choose.quotas.{name}.{group}", f"{name} {group}"
        if quota.at_least:
            found.append(Bound(f"{key}.at_least={quota.at_least}", label, cells, quota.at_least, np.inf, soft=True))
        if quota.at_most is not None:
            found.append(Bound(f"{key}.at_most={quota.at_most}", label, cells, -np.inf, quota.at_most))
        if quota.share_at_least:
            share = quota.share_at_least
            found.append(Bound(f"{key}.share_at_least={share:g}", label, cells, 0, np.inf, share))
        if quota.share_at_most is not None:
            share = quota.share_at_most
            found.append(Bound(f"{key}.share_at_most={share:g}", label, cells, -np.inf, 0, share))
    return found


def _mix(members: Ints | None, settings: ChooseSettings) -> list[Bound]:
    if members is None:
        return []
    bands = sorted(settings.difficulty, key=lambda band: band.low)
    return [
        Bound(
            f"choose.difficulty {band.name} share={band.share:g}",
            f"pass rate {band.name}",
            members == number,
            -_LESS_THAN_ONE,
            _LESS_THAN_ONE,
            band.share,
        )
        for number, band in enumerate(bands)
    ]
