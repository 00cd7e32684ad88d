"""Curate on the cluster: read slices of the sources side by side, send each problem to its shard, settle each shard.

    slices -> rules on one row -> parts by shard -> rules on several rows, benchmarks -> near duplicates -> shards

Every file is its own done mark, so a command that was killed goes on where it was. Memory is bounded by a buffer of
rows a slice, by one shard, and by the index of the benchmarks; the driver sees counts.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import ray

from cluster.each import each
from cluster.near import near
from pipeline.alike.match import Matched
from pipeline.alike.overlap import Index
from pipeline.curate import CurateSettings, problems_of
from pipeline.errors import Stop
from pipeline.funnel import ProblemCounts, count_problems
from pipeline.record import Problem, from_table, shard_of, to_table
from pipeline.settle import apart, beside, own_rows, own_texts, settle
from pipeline.source_files import Slice
from pipeline.sources import HfSource, Source, slices
from pipeline.store import Store

_BUFFER_ROWS = 50_000
_SAMPLE_ROWS, _SAMPLE_CHARS = 5000, 4000


@dataclass(frozen=True, slots=True)
class Curation:
    """Where the problems of some sources go, and by which rules."""

    store: Store
    folder: str
    settings: CurateSettings
    shards: int
    name: str

    @property
    def work(self) -> str:
        """The folder of what lies between the stages; it is deleted at the end."""
        return f"{self.folder}/work"

    @property
    def slices(self) -> str:
        """The file that says how the sources were cut: it is written when the reading begins."""
        return f"{self.work}/slices.json"

    def parts(self, name: str) -> list[str]:
        """The parts of one shard file, before they are joined."""
        place = f"{self.work}/parts/{name.removesuffix('.parquet')}"
        return [f"{place}/{part}" for part in self.store.names(place, ".parquet")]

    @property
    def files(self) -> list[str]:
        """The names of all shard files."""
        return [f"{shard_name(number)}.parquet" for number in range(self.shards)]

    def missing(self, folder: str) -> list[str]:
        """The shard files that a folder lacks."""
        there = set(self.store.names(folder, ".parquet"))
        return [name for name in self.files if name not in there]


@dataclass(frozen=True, slots=True)
class Reading:
    """One slice to read; `number` is its place in the order of all."""

    number: int
    source: Source
    part: Slice


def shard_name(number: int) -> str:
    """The file name of a shard, without its ending."""
    return f"shard-{number:05d}"


def cut(sources: Sequence[Source], to: Curation) -> list[Reading]:
    """All slices in order, as they were cut when the reading began: a data set on the Hub may be another by now."""
    if not to.store.exists(to.slices):
        # A mark tells by its number which rows are read: without the cut that it was made for it tells nothing.
        to.store.delete_folder(f"{to.work}/read")
        to.store.delete_folder(f"{to.work}/parts")
        parts = [(number, asdict(part)) for number, source in enumerate(sources) for part in _slices(source, to)]
        to.store.write_json(to.slices, parts)
    kept = to.store.read_json(to.slices)
    return [Reading(number, sources[source], Slice(**part)) for number, (source, part) in enumerate(kept)]


def read(sources: Sequence[Source], to: Curation) -> None:
    """Write the problems of all slices into parts by shard, judged by the rules that look at one row."""
    every, marks = cut(sources, to), f"{to.work}/read"
    done = set(to.store.names(marks, ".json"))
    reads = [one for one in every if f"{one.number:06d}.json" not in done]

    def spread(one: Reading) -> int:
        rows = _spread(one, to)
        to.store.write_json(f"{marks}/{one.number:06d}.json", {"rows": rows})
        return rows

    for _ in each(reads, spread, name=f"{to.name}-read"):
        pass


def settled(to: Curation, folder: str, *, index: Index | None) -> None:
    """Write `folder`/shard-*.parquet: the parts joined, judged by the rules that look at several rows.

    What matched a benchmark is written with both texts to matches/ beside the problems.
    """
    held = ray.put(index)

    def settle_one(name: str) -> int:
        return _settle(name, to, folder, index=ray.get(held))

    for _ in each(to.missing(folder), settle_one, name=f"{to.name}-settle"):
        pass


def compared(
    to: Curation, source: str, folder: str, *, sources: Sequence[str], held_out: Sequence[tuple[str, Problem]]
) -> dict[str, int]:
    """Write `folder`/shard-*.parquet: the problems of `source`/ without near duplicates; clusters/ shows who is alike.

    Of those that say the same the first in the order of `sources` stays, and none beside a benchmark's problem: of
    these both texts are written to matches/. Returns what cluster.near counted.
    """
    names = [f"{source}/{name}" for name in to.files]
    work, own = f"{to.work}/near", f"{to.work}/near/held_out.parquet"
    benchmarks = "beside_benchmark" in to.settings.rules
    to.store.write_table(own, to_table(own_rows(held_out, to.settings), Problem))
    found = near(
        names,
        held_out=own if benchmarks else None,
        benchmarks=benchmarks,
        store=to.store,
        folder=to.folder,
        work=work,
        settings=to.settings.near,
        sources=sources,
        name=f"{to.name}-near",
    )

    def join(name: str) -> int:
        problems = from_table(to.store.read_table(f"{source}/{name}"), Problem)
        members = to.store.read_table(f"{work}/members/{name}").to_pylist()
        problems = apart(problems, members, to.settings)
        if matches := beside(problems, members, _theirs(to, own, members)):
            to.store.write_table(f"{to.folder}/matches/beside-{name}", to_table(matches, Matched))
        to.store.write_table(f"{folder}/{name}", to_table(problems, Problem))
        return len(problems)

    for _ in each(to.missing(folder), join, name=f"{to.name}-join"):
        pass
    return found


def _theirs(to: Curation, own: str, members: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, str, str]]:
    """Of each row that members lie beside: the benchmark, its problem's id and text.

    The row is the benchmark's own, or one of a source that matched: then it is in that shard's matches.
    """
    asked = {line["beside"] for line in members} - {None}
    if not asked:
        return {}
    found = own_texts(to.store.read_table(own, ["id", "source", "raw_prompt"]).to_pylist())
    shards = sorted({shard_of(identifier, shards=to.shards) for identifier in asked - set(found)})
    for number in shards:
        for row in to.store.read_table(f"{to.folder}/matches/{shard_name(number)}.parquet").to_pylist():
            found.setdefault(row["id"], (row["benchmark"], row["benchmark_id"], row["benchmark_text"]))
    return found


def counted(to: Curation, folder: str) -> ProblemCounts:
    """What became of the rows, from the shard files of a folder."""

    def count(name: str) -> ProblemCounts:
        return count_problems(to.store.read_table(f"{folder}/{name}", columns=["source", "drop"]))

    counts = ProblemCounts()
    for found in each(to.files, count, name=f"{to.name}-count"):
        counts.add(found)
    return counts


def all_there(to: Curation, counts: ProblemCounts) -> None:
    """Raise Stop unless as many rows were written as were read: a part that is gone would be missed by nobody."""
    marks = f"{to.work}/read"
    came = sum(to.store.read_json(f"{marks}/{name}")["rows"] for name in to.store.names(marks, ".json"))
    written = sum(counts.sources.values())
    if written != came:
        raise Stop(
            f"{came:,} rows were read and {written:,} are in {to.folder}/: files below {to.store.address(to.work)} "
            f"were lost or changed; delete {to.store.address(to.folder)} and run the same command again"
        )


def sample(store: Store, shards: Iterable[Iterable[str]]) -> list[str]:
    """Some thousand prompts of the first shards, each given by its files; the same however a shard lies in files.

    Only whole shards are read: a problem's shard and id follow from its text, what lies in one file does not.
    """
    rows: list[tuple[str, str]] = []
    for files in shards:
        for name in files:
            table = store.read_columns(name, ["id", "prompt"])
            prompts = (text[:_SAMPLE_CHARS] for text in table["prompt"].to_pylist())
            rows = sorted({*rows, *zip(table["id"].to_pylist(), prompts, strict=True)})[:_SAMPLE_ROWS]
        if len(rows) == _SAMPLE_ROWS:
            break
    return [text for _, text in rows]


def small(source: Source, to: Curation) -> ProblemCounts:
    """Write the shard files of a source that fits into one task, such as a benchmark; nothing else is compared."""
    shards: dict[int, list[Problem]] = {number: [] for number in range(to.shards)}
    for part in slices(source):
        for problem in problems_of(source, part, settings=to.settings):
            shards[shard_of(problem.id, shards=to.shards)].append(problem)
    counts = ProblemCounts()
    for number, problems in shards.items():
        table = to_table(settle(problems, index=None, settings=to.settings)[0], Problem)
        to.store.write_table(f"{to.folder}/{shard_name(number)}.parquet", table)
        counts.add(count_problems(table))
    return counts


def _slices(source: Source, to: Curation) -> list[Slice]:
    if not isinstance(source, HfSource):
        return slices(source)
    # Its rows are counted by storing it: on a node that will read it, not on one that only drives.
    (found,) = each([source], lambda one: tuple(slices(one)), name=f"{to.name}-slices")
    return list(found)


def _settle(name: str, to: Curation, folder: str, *, index: Index | None) -> int:
    problems = [problem for part in to.parts(name) for problem in from_table(to.store.read_table(part), Problem)]
    found, matches = settle(problems, index=index, settings=to.settings)
    if matches:
        to.store.write_table(f"{to.folder}/matches/{name}", to_table(matches, Matched))
    to.store.write_table(f"{folder}/{name}", to_table(found, Problem))
    return len(found)


def _spread(one: Reading, to: Curation) -> int:
    buffers: dict[int, list[Problem]] = {}
    rows = flushed = 0

    def flush() -> None:
        for shard, problems in buffers.items():
            name = f"{to.work}/parts/{shard_name(shard)}/{one.number:06d}-{flushed:06d}.parquet"
            to.store.write_table(name, to_table(problems, Problem))
        buffers.clear()

    for problem in problems_of(one.source, one.part, settings=to.settings):
        buffers.setdefault(shard_of(problem.id, shards=to.shards), []).append(problem)
        rows += 1
        if rows % _BUFFER_ROWS == 0:
            flush()
            flushed += 1
    flush()
    return rows
