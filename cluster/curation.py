"""Curate on the cluster: read slices of the sources side by side, send each problem to its shard, settle each shard.

    slices -> rules on one row -> parts by shard -> rules on several rows -> problems/shard-*.parquet

Memory is bounded by a buffer of rows a slice and by one shard; the driver sees counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import ray

from cluster.each import each
from pipeline.curate import CurateSettings, problems_of, settle
from pipeline.funnel import ProblemCounts, count_problems
from pipeline.record import Problem, from_table, shard_of, to_table
from pipeline.source_files import Slice
from pipeline.sources import Source, slices
from pipeline.store import Store

_BUFFER_ROWS = 50_000


@dataclass(frozen=True, slots=True)
class _Read:
    """One slice to read; `number` is its place in the order of all."""

    number: int
    source: Source
    part: Slice


def shard_name(number: int) -> str:
    """The file name of a shard, without its ending."""
    return f"shard-{number:05d}"


def curate(
    sources: Sequence[Source],
    *,
    folder: str,
    store: Store,
    settings: CurateSettings,
    shards: int,
    benchmark: frozenset[str],
    name: str,
) -> ProblemCounts:
    """Write `folder`/shard-*.parquet and return what became of the rows."""
    parts = f"{folder}/.parts"
    store.delete_folder(parts)
    reads = [
        _Read(number, source, part)
        for number, (source, part) in enumerate((source, part) for source in sources for part in slices(source))
    ]

    def spread(read: _Read) -> int:
        return _spread(read, parts=parts, store=store, settings=settings, shards=shards)

    for _ in each(reads, spread, name=f"{name}-read"):
        pass
    held = ray.put(benchmark)

    def join(shard: int) -> ProblemCounts:
        return _settle(shard, parts=parts, folder=folder, store=store, settings=settings, benchmark=ray.get(held))

    counts = ProblemCounts()
    for found in each(range(shards), join, name=f"{name}-settle"):
        counts.add(found)
    store.delete_folder(parts)
    return counts


def _spread(read: _Read, *, parts: str, store: Store, settings: CurateSettings, shards: int) -> int:
    buffers: dict[int, list[Problem]] = {}
    rows = flushed = 0

    def flush() -> None:
        for shard, problems in buffers.items():
            name = f"{parts}/{shard_name(shard)}/{read.number:06d}-{flushed:06d}.parquet"
            store.write_table(name, to_table(problems, Problem))
        buffers.clear()

    for problem in problems_of(read.source, read.part, settings=settings):
        buffers.setdefault(shard_of(problem.id, shards=shards), []).append(problem)
        rows += 1
        if rows % _BUFFER_ROWS == 0:
            flush()
            flushed += 1
    flush()
    return rows


def _settle(
    shard: int, *, parts: str, folder: str, store: Store, settings: CurateSettings, benchmark: frozenset[str]
) -> ProblemCounts:
    place = f"{parts}/{shard_name(shard)}"
    problems = [
        problem
        for name in store.names(place, ".parquet")
        for problem in from_table(store.read_table(f"{place}/{name}"), Problem)
    ]
    settled = settle(problems, benchmark=benchmark, settings=settings)
    store.write_table(f"{folder}/{shard_name(shard)}.parquet", to_table(settled, Problem))
    return count_problems(settled)
