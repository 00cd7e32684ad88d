"""Near-duplicate removal in rows a second, against datatrove's MinHash dedup on the same files in the same run.

Ours is the whole job on a Ray that runs, from the shards' files to the members' and the clusters' texts; datatrove's
are its four steps with as many workers. Both are asked which of the planted copies they found (jobs/benches/made.py),
and what they would remove that is no copy.
"""

import contextlib
import importlib.util
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import psutil

from cluster.near import near
from cluster.session import ClusterSettings, session
from jobs.benches.made import Made, made, write_shard
from jobs.benches.result import Result
from pipeline.alike.clusters import clusters
from pipeline.alike.near import NearSettings, sketches
from pipeline.store import Store

_ROWS, _MANY_ROWS, _SHARD_ROWS = 200_000, 1_000_000, 25_000
_WORKERS = 2
_GROWTH = 1.5
_SAMPLE_S = 0.1


def dedup() -> list[Result]:
    """Rows a second against datatrove, what Ray costs on top of the bare functions, and rensa's signatures alone."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        names = _written(store, _ROWS)
        with _ray():
            ours_s, _ = _ours(store, names)
        bare_s = _seconds(partial(_bare, store, names)) / _WORKERS
        rensa_s = _seconds(partial(_rensa, store, names))
        peer_s = _seconds(partial(_datatrove, store, names))
        removed = _removed(store, names)
        peer_removed = set(store.read_json("datatrove.json"))
    found, peer_found = _found(removed), _found(peer_removed)
    _told("ours", removed, found)
    _told("datatrove", peer_removed, peer_found)
    assert found.total() >= peer_found.total(), "ours finds fewer of the planted copies than datatrove"
    ours, peer, bare, rensa = (_ROWS / seconds for seconds in (ours_s, peer_s, bare_s, rensa_s))
    return [
        Result("dedup", ours, peer, f"datatrove, {_WORKERS} workers", "rows/s", ours / peer, goal=10.0),
        Result("dedup_ray", ours, bare, f"the same without Ray, {_WORKERS} cores", "rows/s", ours / bare, goal=0.5),
        Result("dedup_rensa", ours, rensa, "rensa alone, one core, words given", "rows/s", ours / rensa, goal=0.1),
    ]


def dedup_memory() -> Result:
    """The largest process at a million rows against 200,000."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        names = _written(store, _MANY_ROWS)
        # A Ray each: a worker keeps what it once had.
        with _ray():
            small_s, small = _ours(store, names[: _ROWS // _SHARD_ROWS])
        with _ray():
            large_s, large = _ours(store, names)
    print(f"dedup_memory: {_ROWS / small_s:,.0f} rows/s at {_ROWS:,}, {_MANY_ROWS / large_s:,.0f} at {_MANY_ROWS:,}")
    peer = f"at {_ROWS:,} rows"
    return Result("dedup_memory", large / 2**20, small / 2**20, peer, "MiB at most", small / large, goal=1 / _GROWTH)


def _written(store: Store, rows: int) -> list[str]:
    """The names of the shards of as many problems."""
    parts = [range(begin, min(begin + _SHARD_ROWS, rows)) for begin in range(0, rows, _SHARD_ROWS)]
    names = [f"problems/shard-{number:05d}.parquet" for number in range(len(parts))]
    with ProcessPoolExecutor(_WORKERS) as pool:
        list(pool.map(partial(write_shard, store), names, parts))
    return names


@contextlib.contextmanager
def _ray() -> Iterator[None]:
    with session(ClusterSettings(local_cpus=_WORKERS, dashboard=False)):
        yield


def _ours(store: Store, names: Sequence[str]) -> tuple[float, int]:
    """Seconds of the whole job, and bytes at most of the largest process."""
    store.delete_folder("work")
    settings = NearSettings()
    with _largest() as peak:
        started = time.monotonic()
        near(names, store=store, folder="out", work="work", settings=settings, sources=["made"], name="dedup")
        return time.monotonic() - started, max(peak)


def _bare(store: Store, names: Sequence[str]) -> None:
    """What the workers of our job compute, in this process, with everything in memory."""
    tables = [sketches(store.read_table(name), shard=shard, sources=["made"]) for shard, name in enumerate(names)]
    clusters(tables, settings=NearSettings())


def _rensa(store: Store, names: Sequence[str]) -> None:
    """Signatures and duplicate flags of the texts' words, as rensa's README shows; neither clusters nor files."""
    from rensa import RMinHash, RMinHashLSH

    texts = [text for name in names for text in store.read_table(name, ["prompt"])["prompt"].to_pylist()]
    signed = RMinHash.digest_matrix_from_token_sets([text.split() for text in texts], 128, 1)
    RMinHashLSH(threshold=0.8, num_perm=128, num_bands=16).query_duplicate_flags_matrix_one_shot(signed)


def _datatrove(store: Store, names: Sequence[str]) -> None:
    """The four steps of datatrove's MinHash dedup with its own settings; the ids that it removes go into a file."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup.minhash import (
        MinhashConfig,
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.readers import ParquetReader
    from datatrove.pipeline.writers import JsonlWriter
    from datatrove.utils.hashing import HashConfig
    from datatrove.utils.word_tokenizers import WordTokenizer

    # Its own default, xxhash, passes text where the library takes bytes.
    config = MinhashConfig(hash_config=HashConfig(hash_fc="sha1"))

    class Split(WordTokenizer):
        """Words between spaces, where spaCy is not installed, which all of its own tokenizers for English are."""

        def word_tokenize(self, text: str) -> list[str]:
            return text.split()

        def sent_tokenize(self, text: str) -> list[str]:
            return [text]

        def span_tokenize(self, text: str) -> list[tuple[int, int]]:
            return [(0, len(text))]

    words = "en" if importlib.util.find_spec("spacy") else Split()
    root = Path(store.address("trove"))
    reader = ParquetReader(store.address("problems"), text_key="prompt", id_key="row", doc_progress=False)
    removed = JsonlWriter(str(root / "removed"), compression=None)
    steps = [
        (len(names), [reader, MinhashDedupSignature(str(root / "signatures"), config=config, language=words)]),
        (
            config.num_buckets,
            [MinhashDedupBuckets(str(root / "signatures"), str(root / "buckets"), config=config)],
        ),
        (1, [MinhashDedupCluster(str(root / "buckets"), str(root / "ids"), config=config)]),
        (len(names), [reader, MinhashDedupFilter(str(root / "ids"), exclusion_writer=removed)]),
    ]
    for number, (tasks, pipeline) in enumerate(steps):
        workers = min(tasks, _WORKERS)
        logs = str(root / f"logs-{number}")
        LocalPipelineExecutor(pipeline, tasks=tasks, workers=workers, logging_dir=logs, skip_completed=False).run()
    import orjson

    lines = (line for path in sorted((root / "removed").glob("*.jsonl")) for line in path.open("rb"))
    store.write_json("datatrove.json", [int(orjson.loads(line)["id"]) for line in lines])


def _removed(store: Store, names: Sequence[str]) -> set[int]:
    """The numbers of the problems that don't stay by our members."""
    numbers = set()
    for name in names:
        problems = store.read_table(name, ["id", "row"])
        row = dict(zip(problems["id"].to_pylist(), problems["row"].to_pylist(), strict=True))
        members = store.read_table(f"work/members/{name.rpartition('/')[2]}")
        both = zip(members["id"].to_pylist(), members["keeper"].to_pylist(), strict=True)
        numbers |= {int(row[identifier]) for identifier, keeper in both if identifier != keeper}
    return numbers


def _copies() -> list[tuple[int, Made]]:
    return [(number, one) for number in range(9, _ROWS, 10) if (one := made(number)).of is not None]


def _found(removed: set[int]) -> Counter[str]:
    """How many copies of each kind were found: the copy or what it was made from is removed."""
    return Counter(str(one.how) for number, one in _copies() if {number, one.of} & removed)


def _told(name: str, removed: set[int], found: Counter[str]) -> None:
    """Print the recall of each kind, and what is removed that is neither a copy nor has one."""
    planted = Counter(str(one.how) for _, one in _copies())
    meant = {number for pair in _copies() for number in (pair[0], pair[1].of)}
    recall = ", ".join(f"{how} {found[how] / planted[how]:.1%}" for how in sorted(planted))
    print(f"dedup: {name} finds {recall} of {planted.total():,} copies; removes {len(removed - meant):,} that are none")


def _seconds(work: partial[None]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


@contextlib.contextmanager
def _largest() -> Iterator[list[int]]:
    """The largest resident set so far of Ray's workers, in bytes, as the one item of a list."""
    peak, ended = [0], threading.Event()

    def watch() -> None:
        while not ended.wait(_SAMPLE_S):
            for process in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                    if process.name().startswith("ray::"):
                        peak[0] = max(peak[0], process.memory_info().rss)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()
