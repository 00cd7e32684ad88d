"""Near-duplicates over all shards, side by side, in bounded memory.

    problems/shard -> sketches/shard -> found/bucket -> members/shard, texts/span -> clusters/part

Problems that can say the same have one key (pipeline/alike/near.py), so a bucket of keys holds whole clusters: each
problem is sent once, and no step sees all. A task holds one shard or one bucket; the number of buckets follows from
the number of rows. Each stage's file is whole or not there, and is its own done mark: what is there is not made again.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cluster.each import each
from pipeline.alike.clusters import MEMBERS, clusters
from pipeline.alike.near import NEEDED, NearSettings, sketches, takes_part
from pipeline.store import Store

_BUCKET_ROWS = 100_000
_SPAN_ROWS = 250_000
_PART_ROWS = 50_000
_LEAST_SPANS = 8

TEXTS = pa.schema(
    [
        ("cluster", pa.string()),
        ("id", pa.string()),
        ("source", pa.string()),
        ("kept", pa.bool_()),
        ("drop", pa.string()),
        ("similarity", pa.float64()),
        ("prompt", pa.string()),
        ("answer", pa.string()),
    ]
)
"""What a person looks at: the rows of a cluster lie together, who stays first."""


@dataclass(frozen=True, slots=True)
class _Job:
    """What every stage needs; `buckets` and `spans` are how many there are; `held_out` is the last of the names."""

    names: tuple[str, ...]
    held_out: str | None
    benchmarks: bool
    store: Store
    folder: str
    work: str
    settings: NearSettings
    sources: tuple[str, ...]
    buckets: int
    spans: int

    def sketch_name(self, shard: int) -> str:
        return f"{self.work}/sketches/{_stem(self.names[shard])}.arrow"

    def found_name(self, bucket: int) -> str:
        return f"{self.work}/found/bucket-{bucket:05d}.arrow"

    def member_name(self, shard: int) -> str:
        return f"{self.work}/members/{_file(self.names[shard])}"

    def text_name(self, span: int) -> str:
        return f"{self.work}/texts/span-{span:05d}.arrow"

    def part_name(self, part: int) -> str:
        return f"{self.folder}/clusters/part-{part:05d}.parquet"

    def span(self, shard: int) -> int:
        """The span of neighbouring shards that a shard is in."""
        return shard * self.spans // len(self.names)


def near(
    names: Sequence[str],
    *,
    store: Store,
    folder: str,
    work: str,
    settings: NearSettings,
    sources: Sequence[str],
    name: str,
    held_out: str | None = None,
    benchmarks: bool = True,
) -> dict[str, int]:
    """Write `work`/members/ (a file a shard) and `folder`/clusters/; returns how many were compared and found.

    `names` are files of problems; of those with `drop` only the benchmarks' take part, without `benchmarks` none.
    `held_out` is one more file, of the benchmarks' own problems; a row with the id of one takes no part. `sources`
    is the order of who stays. Members have id, cluster, keeper, beside (the benchmark's row in the cluster, or null)
    and similarity; of a cluster with `beside` nothing stays. Keys of what is returned: compared, clusters, members (of
    clusters), repeats (members that don't stay).
    """
    names = [*names, *([held_out] if held_out else [])]
    rows = sum(store.rows(shard) for shard in names)
    spans = min(len(names), max(_LEAST_SPANS, _ceil(rows, _SPAN_ROWS)))
    shared = (store, folder, work, settings, tuple(sources))
    job = _Job(
        tuple(names), held_out, benchmarks, *shared, buckets=max(1, _ceil(rows, _BUCKET_ROWS)), spans=max(spans, 1)
    )
    compared = _stage(_sketch, range(len(names)), job, name=f"{name}-sketch")
    members = _stage(_find, range(job.buckets), job, name=f"{name}-find")
    parts = max(1, _ceil(members, _PART_ROWS))
    _stage(partial(_tell, parts=parts), range(job.spans), job, name=f"{name}-tell")
    found = _stage(_show, range(parts), job, name=f"{name}-show")
    return {"compared": compared, "clusters": found, "members": members, "repeats": members - found}


def _stage(do: Callable[[int, _Job], int], items: range, job: _Job, *, name: str) -> int:
    """The sum of what `do` counts in each item."""
    return sum(each(list(items), partial(_do, do=do, job=job), name=name, cpus=1.0))


def _do(item: int, *, do: Callable[[int, _Job], int], job: _Job) -> int:
    return do(int(item), job)


def _sketch(shard: int, job: _Job) -> int:
    """A shard's sketches, a batch a bucket."""
    name = job.sketch_name(shard)
    if job.store.exists(name):
        return sum(len(job.store.read_batch(name, bucket)) for bucket in range(job.buckets))
    problems = job.store.read_columns(job.names[shard], NEEDED)
    if job.held_out is not None and job.held_out != job.names[shard]:
        own = job.store.read_table(job.held_out, ["id"])["id"]
        problems = problems.filter(pc.invert(pc.is_in(problems["id"], value_set=own)))
    if not job.benchmarks:
        problems = problems.filter(problems["drop"].is_null())
    table = sketches(problems, shard=shard, sources=job.sources)
    job.store.write_batches(name, _split(table, table["key"].to_numpy() % job.buckets, job.buckets))
    return len(table)


def _find(bucket: int, job: _Job) -> int:
    """The members of a bucket's clusters, a batch a span."""
    name = job.found_name(bucket)
    if job.store.exists(name):
        return sum(len(job.store.read_batch(name, span)) for span in range(job.spans))
    tables = (job.store.read_batch(job.sketch_name(shard), bucket) for shard in range(len(job.names)))
    members = clusters(tables, settings=job.settings)
    spans = job.span(members["shard"].to_numpy().astype(np.int64))
    job.store.write_batches(name, _split(members, spans, job.spans))
    return len(members)


def _tell(span: int, job: _Job, *, parts: int) -> int:
    """Each shard of a span its members, and the texts of them, a batch a part."""
    name = job.text_name(span)
    if job.store.exists(name):
        return 0
    members = _joined(job.store, [job.found_name(bucket) for bucket in range(job.buckets)], span, MEMBERS)
    texts = []
    for shard in (shard for shard in range(len(job.names)) if job.span(shard) == span):
        table = _named(members.filter(pc.equal(members["shard"], shard)).sort_by("id"))
        texts.append(_texts(table, job.store.read_columns(job.names[shard], NEEDED)))
        job.store.write_table(job.member_name(shard), table)
    whole = pa.concat_tables(texts)
    part = np.array([int(cluster[:8], 16) % parts for cluster in whole["cluster"].to_pylist()], np.int64)
    job.store.write_batches(name, _split(whole, part, parts))
    return 0


def _show(part: int, job: _Job) -> int:
    """The clusters of a part for people; returns how many they are."""
    texts = _joined(job.store, [job.text_name(span) for span in range(job.spans)], part, TEXTS)
    order = [("cluster", "ascending"), ("kept", "descending"), ("similarity", "descending"), ("id", "ascending")]
    job.store.write_table(job.part_name(part), texts.sort_by(order))
    return int(pc.sum(texts["kept"]).as_py() or 0)


def _named(members: pa.Table) -> pa.Table:
    """Members as other steps read them: ids in hex, the cluster under its keeper's id."""
    ids, keepers, beside = (
        [value and value.hex() for value in members[name].to_pylist()] for name in ("id", "keeper", "beside")
    )
    return pa.table(
        {
            "id": pa.array(ids, pa.string()),
            "cluster": pa.array(keepers, pa.string()),
            "keeper": pa.array(keepers, pa.string()),
            "beside": pa.array(beside, pa.string()),
            "similarity": members["similarity"],
        }
    )


def _texts(members: pa.Table, problems: pa.Table) -> pa.Table:
    """The members with what a person reads of them."""
    at: dict[str, int] = {}
    for place, (identifier, drop) in enumerate(
        zip(problems["id"].to_pylist(), problems["drop"].to_pylist(), strict=True)
    ):
        if takes_part(drop):
            at.setdefault(identifier, place)
    problems = problems.take(pa.array([at[identifier] for identifier in members["id"].to_pylist()], pa.int64()))
    kept = pc.equal(members["id"], members["keeper"])
    told = [members["cluster"], members["id"], problems["source"], kept, problems["drop"], members["similarity"]]
    return pa.table([*told, problems["prompt"], problems["answer"]], schema=TEXTS)


def _joined(store: Store, names: Sequence[str], number: int, schema: pa.Schema) -> pa.Table:
    """One batch of each file, one after another."""
    tables = (store.read_batch(name, number) for name in names)
    return pa.concat_tables([schema.empty_table(), *tables]).combine_chunks()


def _split(table: pa.Table, number: np.ndarray, count: int) -> list[pa.Table]:
    """The rows of a table by their number, 0 to count - 1, each in the order they had."""
    order = np.argsort(number, kind="stable")
    ends = np.searchsorted(number[order], np.arange(count + 1))
    table = table.take(pa.array(order))
    return [table.slice(begin, end - begin) for begin, end in itertools.pairwise(ends)]


def _ceil(rows: int, size: int) -> int:
    return -(-rows // size)


def _file(name: str) -> str:
    return name.rpartition("/")[2]


def _stem(name: str) -> str:
    return _file(name).rpartition(".")[0]
