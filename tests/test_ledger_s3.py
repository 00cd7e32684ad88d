"""A run on an object store: the ledger's promises and a job's whole work, against an S3 server on a real socket."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import s3
from rows import ADDING, entry, trace
from tiny import recipe, recorded, run, succeed

from cluster.models import identity, local_path
from jobs.recipe_file import load
from jobs.steps import store_of
from pipeline import lineage
from pipeline.errors import BadRecipe, Stop
from pipeline.ledger import Ledger, spent
from pipeline.record import Trace, from_table, to_table
from pipeline.store import Store

ROOT = Path(__file__).resolve().parent.parent
PART = "distill/shard-00000"


@pytest.fixture(scope="module")
def options() -> Iterator[str]:
    with s3.served() as reached:
        yield reached


@pytest.fixture
def store(options: str) -> Store:
    return Store(f"s3://{s3.BUCKET}/{uuid.uuid4().hex}/runs/made?{options}")


def objects(options: str, prefix: str = "") -> dict[str, bytes]:
    """What lies in the bucket, by another client than ours."""
    import boto3

    host = options.partition("endpoint_override=")[2].partition("&")[0]
    client = boto3.client("s3", endpoint_url=f"http://{host}", region_name="us-east-1")
    found = client.get_paginator("list_objects_v2").paginate(Bucket=s3.BUCKET, Prefix=prefix)
    keys = [thing["Key"] for page in found for thing in page.get("Contents", [])]
    return {key: client.get_object(Bucket=s3.BUCKET, Key=key)["Body"].read() for key in keys}


def prefix_of(store: Store) -> str:
    return store.root.partition("?")[0].removeprefix(f"s3://{s3.BUCKET}/")


async def add_all(to: Ledger, draws: range) -> None:
    await asyncio.gather(*(to.add(entry(draw)) for draw in draws))


def test_a_name_goes_before_the_options_of_a_uri() -> None:
    root = "s3://bucket/runs/?endpoint_override=127.0.0.1:9000&scheme=http"
    named = Store(root).address("made/traces/a.parquet")
    assert named == "s3://bucket/runs/made/traces/a.parquet?endpoint_override=127.0.0.1:9000&scheme=http"
    assert Store(root).address("") == root
    # A question mark is a letter like any other in the name of a local folder.
    assert Store("/tmp/what?").address("a") == "/tmp/what?/a"


def test_storage_with_a_key_in_it_is_refused_and_not_repeated(tmp_path: Path) -> None:
    for root in ("s3://name:letmein@bucket/x", "s3://bucket/x?secret_key=letmein", "gs://b/x?a=1&access_token=letmein"):
        with pytest.raises(BadRecipe) as refused:
            Store(root)
        assert "letmein" not in str(refused.value)
    path = recipe(tmp_path, recorded(tmp_path / "problems.jsonl", problems=1))
    ended = run("curate", path, "storage=s3://name:letmein@bucket/x")
    assert ended.returncode == 2
    assert "letmein" not in ended.stdout + ended.stderr


def test_a_recipe_s_storage_may_have_options(tmp_path: Path) -> None:
    path = recipe(tmp_path, recorded(tmp_path / "problems.jsonl", problems=1))
    wanted = load(str(path), ["storage='s3://bucket/runs?scheme=http&region=r'"])
    assert store_of(wanted).root == "s3://bucket/runs/made?scheme=http&region=r"


def test_files_lie_where_their_names_say(store: Store, options: str) -> None:
    traces = [trace(), trace(draw=1, verdict="wrong")]
    store.write_table("traces/shard-00000.parquet", to_table(traces, Trace))
    store.write_json("summary/distill.json", {"problems": 1})
    store.write_bytes("empty", b"")
    assert from_table(store.read_table("traces/shard-00000.parquet"), Trace) == traces
    assert store.read_table("traces/shard-00000.parquet", columns=["id"]).num_rows == store.rows(
        "traces/shard-00000.parquet"
    )
    assert store.read_json("summary/distill.json") == {"problems": 1}
    assert store.names("traces") == ["shard-00000.parquet"]
    assert store.names_below("", ".parquet") == ["traces/shard-00000.parquet"]
    assert store.names("nowhere") == store.names_below("nowhere") == []
    there = objects(options, prefix_of(store))
    assert json.loads(there[f"{prefix_of(store)}/summary/distill.json"]) == {"problems": 1}
    assert there[f"{prefix_of(store)}/empty"] == b""
    store.copy_folder("traces", "kept")
    assert store.read_table("kept/shard-00000.parquet").num_rows == 2
    for _ in range(2):
        store.delete("empty")
        store.delete_folder("traces")
    assert not store.exists("empty")
    assert not store.exists("traces")
    assert store.exists("kept/shard-00000.parquet")


def test_steps_begin_and_finish(store: Store) -> None:
    assert lineage.state(store, "traces", fingerprint="a") == "new"
    lineage.begin(store, "traces", fingerprint="a")
    store.write_bytes("traces/old", b"1")
    assert lineage.state(store, "traces", fingerprint="a") == "begun"
    lineage.finish(store, "traces", fingerprint="a")
    assert lineage.state(store, "traces", fingerprint="a") == "done"
    assert lineage.state(store, "traces", fingerprint="b") == "stale"
    lineage.begin(store, "traces", fingerprint="b")
    assert store.names("traces") == ["step.json"]


def test_a_write_that_breaks_off_leaves_the_old_file(store: Store) -> None:
    store.write_json("a.json", {"old": True})
    with pytest.raises(TypeError):
        store.write_json("a.json", object())
    with contextlib.suppress(RuntimeError), store._whole("a.json") as sink:
        sink.write(b"half")
        raise RuntimeError
    assert store.read_json("a.json") == {"old": True}


def test_a_large_file_that_is_written_in_parts_is_there_as_a_whole_and_only_then(store: Store, options: str) -> None:
    parts = [pa.table({"noise": [os.urandom(1 << 20) for _ in range(12)]}) for _ in range(2)]
    with store.writing("a.parquet") as write:
        for part in parts:
            write(part)
            assert objects(options, prefix_of(store)) == {}
    assert pa.concat_tables(store.read_parts("a.parquet")).equals(pa.concat_tables(parts))
    assert pa.concat_tables(store.read_parts("a.parquet", np.array([1, 23]))).equals(
        pa.concat_tables([parts[0].slice(1, 1), parts[1].slice(11, 1)])
    )


def test_a_bucket_that_is_not_there_stops_with_its_address(options: str) -> None:
    with pytest.raises(Stop, match=r"can't write s3://no-such-bucket/made/a\.json") as stopped:
        Store(f"s3://no-such-bucket/made?{options}").write_json("a.json", 1)
    assert "bucket does not exist" in str(stopped.value)


def test_an_added_answer_is_on_storage_before_add_returns(store: Store, options: str) -> None:
    async def one_by_one() -> None:
        mine = Ledger(store, PART)
        for draw in range(3):
            await mine.add(entry(draw))
            assert len(objects(options, f"{prefix_of(store)}/ledger/{PART}/")) >= 1
            assert Ledger(store, PART).read()[entry(draw).key] == entry(draw)

    asyncio.run(one_by_one())


def test_merging_loses_nothing_and_leaves_one_object(store: Store, options: str) -> None:
    for draw in range(6):
        asyncio.run(Ledger(store, PART).add(entry(draw)))
    before = Ledger(store, PART).read()
    Ledger(store, PART).merge()
    assert Ledger(store, PART).read() == before
    assert len(before) == 6
    there = [key for key in objects(options, f"{prefix_of(store)}/ledger/") if key.endswith(".parquet")]
    assert len(there) == 1


def test_a_merge_that_dies_before_it_deletes_bills_nothing_twice(store: Store, options: str) -> None:
    for draw in range(4):
        asyncio.run(Ledger(store, PART).add(entry(draw, cost_usd=0.25, caller="me")))
    small = {name: store.address(f"ledger/{PART}/{name}") for name in store.names(f"ledger/{PART}")}
    held = {name: objects(options)[address.partition("?")[0][len(s3.BUCKET) + 6 :]] for name, address in small.items()}
    before = Ledger(store, PART).read()
    Ledger(store, PART).merge()
    for name in sorted(held)[1:]:
        store.write_bytes(f"ledger/{PART}/{name}", held[name])
    assert Ledger(store, PART).read() == before
    # Until the next merge the bill is counted too high, never too low.
    assert spent(store).by_caller["me"] >= 1.0
    Ledger(store, PART).merge()
    assert Ledger(store, PART).read() == before
    assert spent(store).by_caller == {"me": pytest.approx(1.0)}


def test_a_reader_misses_nothing_while_another_merges(store: Store) -> None:
    for draw in range(6):
        asyncio.run(Ledger(store, PART).add(entry(draw, cost_usd=1.0, caller="me")))
    wanted = set(Ledger(store, PART).read())

    def add_and_merge() -> None:
        for draw in range(6, 26):
            asyncio.run(Ledger(store, PART).add(entry(draw, cost_usd=1.0, caller="me")))
            Ledger(store, PART).merge()

    missed, least = [], []
    with ThreadPoolExecutor(1) as thread:
        merging = thread.submit(add_and_merge)
        while not merging.done():
            missed.append(len(wanted - set(Ledger(store, PART).read())))
            least.append(spent(store).by_caller["me"])
        merging.result()
    assert len(missed) > 3
    assert sum(missed) == 0
    assert min(least) >= 6.0
    assert len(Ledger(store, PART).read()) == 26


def test_torn_objects_are_named_and_the_rest_is_read(store: Store) -> None:
    asyncio.run(add_all(Ledger(store, PART), range(3)))
    good = store.names(f"ledger/{PART}")
    store.write_bytes(f"ledger/{PART}/torn.parquet", b"PAR1 half of a file PAR1"[:15])
    store.write_bytes(f"ledger/{PART}/void.parquet", b"")
    mine = Ledger(store, PART)
    assert set(mine.read()) == {entry(draw).key for draw in range(3)}
    assert sorted(mine.torn) == ["torn.parquet", "void.parquet"]
    assert sorted(spent(store).torn) == [f"ledger/{PART}/torn.parquet", f"ledger/{PART}/void.parquet"]
    asyncio.run(Ledger(store, PART).add(entry(3)))
    Ledger(store, PART).merge()
    # What can't be read is nobody's to delete.
    assert {"torn.parquet", "void.parquet"} <= set(store.names(f"ledger/{PART}"))
    assert not set(good) & set(store.names(f"ledger/{PART}"))
    assert len(Ledger(store, PART).read()) == 4


def test_what_was_spent_is_the_sum_over_all_shards_and_callers(store: Store) -> None:
    costs = {"a": 0.0, "b": 0.0}
    for number in range(6):
        caller, cost, unsure = "ab"[number % 2], 0.1 * number, 0.01 * number
        costs[caller] += cost + unsure
        part = f"distill/shard-{number % 3:05d}"
        asyncio.run(Ledger(store, part).add(entry(number, cost_usd=cost, unsure_usd=unsure, caller=caller)))
    assert spent(store).by_caller == pytest.approx(costs)
    Ledger(store, "distill/shard-00000").merge()
    assert spent(store).by_caller == pytest.approx(costs)


def test_a_kill_loses_no_acknowledged_answer(store: Store) -> None:
    command = [sys.executable, "-c", ADDING, store.root, PART]
    for kill_after in (1, 25):
        child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
        assert child.stdout is not None
        acknowledged = [child.stdout.readline() for _ in range(kill_after)]
        os.kill(child.pid, signal.SIGKILL)
        acknowledged += [line for line in child.stdout.read().splitlines(keepends=True) if line.endswith(b"\n")]
        child.wait()
        keys = {line.decode().strip() for line in acknowledged}
        assert "" not in keys
        assert len(keys) >= kill_after
        assert keys <= set(Ledger(store, PART).read())


def test_a_model_on_an_object_store_is_copied_to_this_machine(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LONGTHOUGHT_CACHE", str(tmp_path))
    files = {"config.json": b"{}", "model.safetensors": os.urandom(1000)}
    for name, content in files.items():
        store.write_bytes(f"model/{name}", content)
    folder = Path(local_path(store.address("model")))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files
    assert identity(store.address("model")) == identity(str(folder))
    # Another copy a day later lets go of it, and of none that was asked for since.
    store.write_bytes("second/config.json", b"{}")
    second = Path(local_path(store.address("second")))
    for copy in (folder, second):
        os.utime(copy, (0, 0))
    assert Path(local_path(store.address("second"))) == second
    store.write_bytes("third/config.json", b"{}")
    third = Path(local_path(store.address("third")))
    assert sorted(each for each in folder.parent.iterdir() if each.is_dir()) == sorted((second, third))


@pytest.mark.ray
@pytest.mark.beside
def test_curate_and_distil_on_an_object_store_as_on_a_disk(tmp_path: Path, options: str, shared_ray: str) -> None:
    path = recipe(tmp_path, recorded(tmp_path / "problems.jsonl", problems=12))
    prices = ["teacher.prompt_usd_per_mtok=1", "budget_usd=5"]
    storage = f"s3://{s3.BUCKET}/whole?{options}"
    both = [prices, [*prices, f"storage={storage}"]]
    # Side by side: most of the time they wait.
    with ThreadPoolExecutor(len(both)) as threads:
        for job in ("curate", "distill"):
            list(threads.map(lambda asked, job=job: succeed(job, path, *asked), both))
    there, here = Store(storage), Store(str(tmp_path / "runs"))
    made = [there.read_json("made/summary/distill.json"), here.read_json("made/summary/distill.json")]
    assert made[0]["verdicts"] == made[1]["verdicts"] == {"correct": 18, "wrong": 6, "undecided": 0}
    assert made[0]["calls"]["bought"] == 24

    def traces(store: Store) -> set[tuple[object, ...]]:
        rows = [
            row
            for name in store.names("made/traces", ".parquet")
            for row in from_table(store.read_table(f"made/traces/{name}"), Trace)
        ]
        return {(row.id, row.draw, row.thought, row.reply, row.verdict, row.ledger_key) for row in rows}

    assert traces(there) == traces(here)
    assert len(traces(there)) == 24
    # All callers closed, and the ledger's bill is the summary's.
    assert there.read_json("made/ledger/open.json") == {}
    bought = spent(Store(there.address("made"))).by_caller
    assert sum(bought.values()) == pytest.approx(made[0]["cost_usd"]) != 0
    # A further draw buys the difference alone.
    succeed("distill", path, *prices, f"storage={storage}", "distill.generations.0.draws=1")
    assert there.read_json("made/summary/distill.json")["calls"]["reused"] == 12
