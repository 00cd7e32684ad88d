"""The sketches of one task, gathered from many shards: their hashes lie in temporary files, however many there are.

Problems without numbers and with one of few answers all have one key, so a task may get millions of rows of it. What
is held in memory of a row is a few numbers; its hashes, a few hundred bytes and up, are mapped and let go again. The
files have no names and go with the task; they lie where TMPDIR says.
"""

import itertools
import mmap
import os
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.alike.said import changes
from pipeline.errors import Stop

Array = np.ndarray[Any, np.dtype[Any]]

_AT_ONCE = 1 << 20
"""Values that are read or written in one go."""
_WRITTEN_AT_ONCE = 1 << 18
_COUNTED_AT_ONCE = 1 << 21
"""Hashes that are counted in one go: more are counted by ranges of what they may be."""
_SAMPLE = 1 << 16
"""Hashes of which it is told where they lie."""
_RESIDENT_BYTES = 48 << 20
"""Of a larger file nothing stays in memory between two uses."""
_LEAST_ROWS = 1000
"""Rows that a set is taken to have at least when words are weighed: in a few, nothing is known to be common."""
_FLOOR = 1e-6
"""What a hash that all have still weighs: texts that are the same are alike in any company."""


@dataclass(frozen=True, slots=True)
class Flat:
    """A flat array in a temporary file."""

    values: Array
    _map: mmap.mmap
    _file: int

    @classmethod
    def of(cls, parts: Iterable[Array], dtype: Any) -> "Flat":
        """The parts one after another; raises Stop where there is no room for them."""
        size = np.dtype(dtype).itemsize
        try:
            with tempfile.TemporaryFile() as file:
                count = sum(file.write(np.ascontiguousarray(part, dtype).data) for part in parts) // size
                if count == 0:
                    file.write(b"-")  # nothing can't be mapped
                file.flush()
                mapped, number = mmap.mmap(file.fileno(), 0), os.dup(file.fileno())
        except OSError as error:
            raise Stop(f"no room for temporary files ({error}): set TMPDIR to a folder on a larger disk") from error
        weakref.finalize(mapped, os.close, number)
        return cls(np.frombuffer(mapped, dtype, count), mapped, number)

    def of_rows(self, starts: Array, rows: Array) -> tuple[Array, Array]:
        """The values of some rows, one row after another, and how many each has; row n's begin at `starts[n]`."""
        sizes = starts[rows + 1] - starts[rows]
        if not self._large:
            before = np.cumsum(sizes) - sizes
            return self.values[np.arange(sizes.sum()) + np.repeat(starts[rows] - before, sizes)], sizes
        # One value that is looked at here and there brings a megabyte around it into memory where a file is mapped.
        width = self.values.itemsize
        spans = zip((sizes * width).tolist(), (starts[rows] * width).tolist(), strict=True)
        return np.frombuffer(b"".join([os.pread(self._file, *span) for span in spans]), self.values.dtype), sizes

    @property
    def _large(self) -> bool:
        return len(self._map) > _RESIDENT_BYTES

    def rest(self) -> None:
        """Let go of the memory that a large file has taken; what was written stays in the file."""
        if self._large:
            self._map.madvise(mmap.MADV_DONTNEED)

    def parts(self) -> Iterator[tuple[int, Array]]:
        """All values, some at a time, each with the place of the first."""
        for at in range(0, len(self.values), _AT_ONCE):
            yield at, self.values[at : at + _AT_ONCE]
            self.rest()


@dataclass(frozen=True, slots=True)
class Gathered:
    """Sketches of many tables: what is short of each row, and its hashes at `starts[n]` to `starts[n + 1]`."""

    rows: pa.Table
    hashes: Flat
    starts: Array


def gathered(tables: Iterable[pa.Table], schema: pa.Schema) -> Gathered:
    """The sketches of all tables, in their order; one table is read at a time."""
    short: list[pa.Table] = [schema.empty_table().drop_columns("sketch")]
    sizes: list[Array] = [np.empty(0, np.int64)]

    def hashes() -> Iterator[Array]:
        for table in tables:
            short.append(table.drop_columns("sketch"))
            sizes.append(pc.list_value_length(table["sketch"]).to_numpy())
            yield pc.list_flatten(table["sketch"]).to_numpy()

    flat = Flat.of(hashes(), np.uint32)
    return Gathered(pa.concat_tables(short).combine_chunks(), flat, np.append(0, np.cumsum(np.concatenate(sizes))))


def arranged(found: Gathered, rows: Array) -> tuple[Flat, Array]:
    """The hashes of some rows, in this order, each row's sorted and without repeats; and where each row's begin."""
    counts: list[Array] = [np.empty(0, np.int64)]

    def hashes() -> Iterator[Array]:
        for block in blocks(np.diff(found.starts)[rows], _AT_ONCE):
            values, sizes = found.hashes.of_rows(found.starts, rows[block])
            packed = np.sort(np.repeat(np.arange(len(sizes)), sizes) << 32 | values)
            packed = packed[changes(packed)]
            counts.append(np.bincount(packed >> 32, minlength=len(sizes)))
            yield packed.astype(np.uint32)

    flat = Flat.of(hashes(), np.uint32)
    return flat, np.append(0, np.cumsum(np.concatenate(counts)))


def weighed(values: Flat, ends: Array, many: Array, found: Gathered) -> Flat:
    """What each of `values` weighs: less the more rows have it, of all and, where the group is one of `many`, of it.

    `ends` says where each group's values end, `many` how many rows it has, or 0 where it has too few to tell.
    """
    weights = Flat.of((np.zeros(len(part)) for _, part in values.parts()), np.float32)
    edges = _edges(found.hashes)
    of = max(len(found.rows), _LEAST_ROWS)
    for low, high in itertools.pairwise(edges):
        hashes, counts = np.unique(_between(found.hashes, low, high)[1], return_counts=True)
        at, own = _between(values, low, high)
        group = np.searchsorted(ends, at, "right")
        # Sorted by hash and, as groups lie one after another, by group: a run is one hash in one group.
        packed = np.sort(own.astype(np.uint64) << np.uint64(32) | np.arange(len(own), dtype=np.uint64))
        own, place = (packed >> np.uint64(32)).astype(np.uint32), packed.astype(np.uint32)
        group = group[place]
        runs = np.flatnonzero(changes(own) | changes(group))
        rarity = 1 - np.log(counts[np.searchsorted(hashes, own[runs])]) / np.log(of)
        lengths = np.diff(np.append(runs, len(packed)))
        weight = np.empty(len(own), np.float32)
        weight[place] = np.repeat(np.maximum(rarity, 0) * _local(lengths, many[group[runs]]) + _FLOOR, lengths)
        for begin in range(0, len(at), _WRITTEN_AT_ONCE):
            part = slice(begin, begin + _WRITTEN_AT_ONCE)
            weights.values[at[part]] = weight[part]
            weights.rest()
    return weights


def _edges(hashes: Flat) -> list[int]:
    """The ends of ranges in which about equally many hashes lie: of long texts only the smallest are kept."""
    ranges = -(-len(hashes.values) // _COUNTED_AT_ONCE)
    inner = np.quantile(_sample(hashes), np.arange(1, ranges) / ranges) if ranges > 1 else np.empty(0)
    return [0, *np.unique(inner.astype(np.int64)).tolist(), 1 << 32]


def _sample(hashes: Flat) -> Array:
    every = -(-len(hashes.values) // _SAMPLE)
    return np.concatenate([part[(-at) % every :: every] for at, part in hashes.parts()])


def _between(flat: Flat, low: int, high: int) -> tuple[Array, Array]:
    """Those values of at least `low` and below `high`, and their places."""
    places, found = [np.empty(0, np.int64)], [np.empty(0, np.uint32)]
    for begin, part in flat.parts():
        at = np.flatnonzero((part >= low) & (part <= high - 1))
        places.append(at + begin)
        found.append(part[at])
    return np.concatenate(places), np.concatenate(found)


def _local(counts: Array, sizes: Array) -> Array:
    """How rare is what so many rows of a group have: 1 for two rows, 0 for all; 1 where the group's size is 0."""
    weights = np.ones(len(counts))
    many = sizes > 0
    weights[many] = np.clip(np.log(sizes[many] / counts[many]) / np.log(sizes[many] / 2.5), 0, 1)
    return weights


def blocks(sizes: Array, most: int) -> Iterator[slice]:
    """Runs of neighbours whose sizes come to `most` at most, or of one alone."""
    ends = np.cumsum(sizes)
    at = 0
    while at < len(sizes):
        before = ends[at - 1] if at else 0
        until = max(at + 1, int(np.searchsorted(ends, before + most, "right")))
        yield slice(at, until)
        at = until
