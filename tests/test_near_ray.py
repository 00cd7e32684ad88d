"""The whole job on Ray: the same clusters as in one process, from one worker or two, and after a kill anywhere."""

import random
from pathlib import Path

import pyarrow as pa
import pytest
from tiny import alone

import cluster.near
from cluster.near import near
from cluster.session import ClusterSettings, session
from pipeline.alike.clusters import clusters
from pipeline.alike.near import NearSettings, sketches
from pipeline.record import Problem, problem_id, shard_of, to_table
from pipeline.store import Store

SHARDS = 3


def written(store: Store) -> list[str]:
    """Shards of stories, every fourth of them told twice and one of those a benchmark's."""
    rng = random.Random(1)
    words = [f"{a}{b}{c}o" for a in "bcdfg" for b in "aeiu" for c in "klmnprst"]
    stories = [" ".join(rng.sample(words, 20)) + f" with {n} and {n + 7} of 3." for n in range(10, 210)]
    prompts = [(n, story) for n, story in enumerate(stories)] + [(n, f"Today {stories[n]}") for n in range(0, 200, 4)]
    shards: list[list[Problem]] = [[] for _ in range(SHARDS)]
    for n, prompt in prompts:
        named = {
            "id": problem_id(prompt),
            "source": "a",
            "kind": "math",
            "licence": "x",
            "solution": "",
            "drop_why": None,
        }
        drop = "in_benchmark" if prompt == f"Today {stories[8]}" else None
        one = Problem(**named, prompt=prompt, answer=str(n), drop=drop)
        shards[shard_of(one.id, shards=SHARDS)].append(one)
    names = [f"problems/shard-{number:05d}.parquet" for number in range(SHARDS)]
    for name, shard in zip(names, shards, strict=True):
        store.write_table(name, to_table(sorted(shard, key=lambda one: one.id), Problem))
    return names


def made(store: Store) -> dict[str, bytes]:
    """All files of members and clusters, by name."""
    names = [*store.names_below("work/members"), *store.names_below("problems/clusters")]
    return {name: Path(store.address(name)).read_bytes() for name in names}


@pytest.mark.ray
@pytest.mark.beside
def test_same_clusters_with_two_workers_and_after_a_kill(tmp_path: Path, shared_ray: str) -> None:
    alone(same_clusters, tmp_path)


def same_clusters(tmp_path: Path) -> None:
    pytest.MonkeyPatch().setattr(cluster.near, "_BUCKET_ROWS", 100)  # three buckets of keys
    store = Store(str(tmp_path))
    names = written(store)
    asked = {"store": store, "folder": "problems", "work": "work", "settings": NearSettings(), "sources": ["a"]}
    with session(ClusterSettings()):
        counts = near(names, **asked, name="near")
        first = made(store)
        # As a kill leaves it: some of a stage is there, and a file that was half written.
        store.delete_folder("work/texts")
        store.delete_folder("problems/clusters")
        for name in (
            "work/members/shard-00001.parquet",
            "work/found/bucket-00002.arrow",
            "work/sketches/shard-00000.arrow",
        ):
            store.delete(name)
        (tmp_path / "work" / "found" / ".bucket-00002.arrow.1a2b").write_bytes(b"half")
        assert near(names, **asked, name="near") == counts
        # Of the one cluster with a benchmark's row the other is alone then.
        without = asked | {"work": "without", "folder": "without"}
        assert near(names, **without, name="without", benchmarks=False) == {
            "compared": 249, "clusters": 49, "members": 98, "repeats": 49
        }  # fmt: skip
    assert made(store) == first
    assert counts == {"compared": 250, "clusters": 50, "members": 100, "repeats": 50}

    tables = [sketches(store.read_table(name), shard=shard, sources=["a"]) for shard, name in enumerate(names)]
    by_itself = clusters(tables, settings=NearSettings()).to_pylist()
    members = pa.concat_tables([store.read_table(f"work/members/shard-{n:05d}.parquet") for n in range(SHARDS)])
    assert {(one["id"], one["keeper"]) for one in members.to_pylist()} == {
        (one["id"].hex(), one["keeper"].hex()) for one in by_itself
    }
    assert sum(one["beside"] is not None for one in members.to_pylist()) == 2
    told = store.read_table("problems/clusters/part-00000.parquet").to_pylist()
    assert [one["kept"] for one in told] == [True, False] * 50
    assert all(told[n]["cluster"] == told[n]["id"] == told[n + 1]["cluster"] for n in range(0, 100, 2))
