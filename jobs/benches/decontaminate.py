"""Decontamination of 200,000 problems against 1,500 held-out ones: rows a second against datatrove's n-gram filter.

500 of the rows are held-out problems: as they are, inside a longer text, or in capitals with one word in ten another.
Both read the same Parquet files with two workers and write what they found. datatrove's own indexer needs lighteval and
its tasks, so its index is written here, by its functions and in its format; its xxhash functions take no text with
xxhash 4, so both its index and its filter use SHA-1, its other choice.
"""

import contextlib
import multiprocessing
import os
import random
import re
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import orjson
import pyarrow as pa

from cluster.each import each
from cluster.session import ClusterSettings, session
from jobs.benches.made import made
from jobs.benches.result import Result
from pipeline.alike.match import Matched, matched
from pipeline.alike.overlap import Index, OverlapSettings, index_of
from pipeline.record import Problem, to_table
from pipeline.store import Store

if TYPE_CHECKING:
    from datatrove.pipeline.decont.n_grams import NGramsDecontConfig

_ROWS, _SHARDS, _WORKERS = 200_000, 16, 2
_HELD, _PLANTED = 1500, 500
_RUNS = 3
_FIRST_HELD = 10_000_000
_WORD = re.compile(r"[a-z]+")


def decontaminate() -> list[Result]:
    """Ours through Ray, ours in plain processes, and datatrove's; who found what is printed."""
    with tempfile.TemporaryDirectory() as folder, session(ClusterSettings(local_cpus=_WORKERS, dashboard=False)):
        store = Store(folder)
        shards = range(_SHARDS)
        for _ in each(shards, partial(_write, store), name="made", cpus=1):
            pass
        index = index_of({"held": [_held(number) for number in range(_HELD)]}, OverlapSettings())
        through_ray, bare = _ray_and_bare(partial(_check, store, index), shards)
        ours = _found([store.read_table(f"ours/{shard}.parquet") for shard in shards])
        peer = _per_second(lambda: _datatrove(folder))
        peers = _found_by_peer(Path(folder))
    for name, found in (("ours", ours), ("datatrove", peers)):
        print(f"decontaminate: {name} found {_shares(found)}")
    assert len(ours.right) >= len(peers.right), "ours finds less than datatrove"
    assert len(ours.wrong) <= len(peers.wrong), "ours takes more honest problems for held-out ones than datatrove"
    return [
        Result("decontaminate", through_ray, peer, "datatrove", "rows/s", through_ray / peer, goal=10.0),
        Result("decontaminate_ray", through_ray, bare, "two plain processes", "rows/s", through_ray / bare, goal=0.6),
    ]


@dataclass(frozen=True, slots=True)
class _Found:
    """The rows that were dropped: held-out problems, and others."""

    right: frozenset[int]
    wrong: frozenset[int]


def _planted(row: int) -> int | None:
    """The held-out problem that stands in a row of the source."""
    held, within = divmod(row, _ROWS // _PLANTED)
    return held if within == 0 else None


def _way(held: int) -> str:
    return ("as it is", "inside", "changed")[held % 3]


def _held(number: int) -> Problem:
    """Held-out problem of a number; no row of the source is made from one."""
    return made(_FIRST_HELD + 10 * number + 1).problem


def _row(row: int) -> Problem:
    problem = made(row).problem
    held = _planted(row)
    if held is None:
        return replace(problem, id=str(row))
    prompt = _held(held).prompt
    if _way(held) == "inside":
        prompt = f"An example. {problem.prompt} Now this one. {prompt} Put the answer in a box."
    elif _way(held) == "changed":
        rng = random.Random(row)
        prompt = _WORD.sub(lambda word: "other" if rng.random() < 0.1 else word[0], prompt).upper()
    return replace(problem, id=str(row), prompt=prompt)


def _write(store: Store, shard: int) -> None:
    rows = range(shard, _ROWS, _SHARDS)
    store.write_table(f"problems/{shard}.parquet", to_table(map(_row, rows), Problem))


def _check(store: Store, index: Index, shard: int) -> None:
    """What a curation does with a shard: read it, look, and write what matched with both texts."""
    table = store.read_table(f"problems/{shard}.parquet", columns=["id", "prompt"])
    ids, prompts = (table[name].to_pylist() for name in ("id", "prompt"))
    rows = [
        matched(match, where="prompt", id=id, source="made", text=prompt)
        for id, prompt, match in zip(ids, prompts, index.prompts(prompts), strict=True)
        if match is not None
    ]
    store.write_table(f"ours/{shard}.parquet", to_table(rows, Matched))


def _ray_and_bare(check: Callable[[int], None], shards: range) -> tuple[float, float]:
    """Rows a second through Ray and of as many plain processes, all started before: medians of runs by turns."""
    through_ray, bare = [], []
    with ProcessPoolExecutor(_WORKERS, mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(check, shards[:_WORKERS]))
        for _ in range(_RUNS):
            through_ray.append(_per_second(lambda: list(each(shards, check, name="ours", cpus=1))))
            bare.append(_per_second(lambda: list(pool.map(check, shards))))
    return statistics.median(through_ray), statistics.median(bare)


def _per_second(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return _ROWS / (time.perf_counter() - started)


def _found(tables: list[pa.Table]) -> _Found:
    return _judged({int(id) for table in tables for id in table["id"].to_pylist()})


def _judged(rows: set[int]) -> _Found:
    right = {row for row in rows if _planted(row) is not None}
    return _Found(frozenset(right), frozenset(rows - right))


def _shares(found: _Found) -> str:
    held = [_planted(row) for row in found.right]
    ways: Mapping[str, int] = Counter(_way(number) for number in held if number is not None)
    planted = Counter(map(_way, range(_PLANTED)))
    shares = ", ".join(f"{way} {ways.get(way, 0)} of {planted[way]}" for way in planted)
    return f"{len(found.right)} of {_PLANTED} ({shares}), and {len(found.wrong)} that are honest"


def _datatrove(folder: str) -> None:
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.decont.n_grams import NGramsDecontConfig, NGramsDecontFilter
    from datatrove.pipeline.readers import ParquetReader
    from datatrove.pipeline.writers import JsonlWriter
    from datatrove.utils.hashing import HashConfig

    config = NGramsDecontConfig(hash_config=HashConfig(hash_fc="sha1"))
    _datatrove_index(Path(folder) / "index", config)
    dropped = JsonlWriter(f"{folder}/dropped", compression=None)
    steps = [
        ParquetReader(f"{folder}/problems", text_key="prompt"),
        NGramsDecontFilter(f"{folder}/index", config, exclusion_writer=dropped),
    ]
    with _quiet(Path(folder) / "datatrove.log"):
        LocalPipelineExecutor(steps, tasks=_SHARDS, workers=_WORKERS, logging_dir=f"{folder}/logs").run()


@contextlib.contextmanager
def _quiet(log: Path) -> Iterator[None]:
    """What this process and those that it starts say on the error stream goes to a file."""
    saved = os.dup(2)
    try:
        with log.open("wb") as sink:
            os.dup2(sink.fileno(), 2)
            yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def _datatrove_index(folder: Path, config: "NGramsDecontConfig") -> None:
    """The hashes of the held-out problems' n-grams, as NGramsDecontIndexer computes and writes them."""
    from datatrove.utils.hashing import create_hash_func
    from datatrove.utils.text import ngrams, simplify_text
    from datatrove.utils.word_tokenizers import load_word_tokenizer

    hashed, tokenizer = create_hash_func(config.hash_config), load_word_tokenizer("en")
    hashes: set[int] = set()
    for number in range(_HELD):
        tokens = tokenizer.word_tokenize(simplify_text(_held(number).prompt, config.norm_config))
        hashes.update(map(hashed, map(" ".join, ngrams(tokens, config.n_grams))))
    folder.mkdir()
    np.array(sorted(hashes), dtype=config.hash_config.np_descr).tofile(folder / "held.index.hashes")


def _found_by_peer(folder: Path) -> _Found:
    lines = (line for path in (folder / "dropped").glob("*.jsonl") for line in path.open("rb"))
    return _judged({int(orjson.loads(line)["id"]) for line in lines})
