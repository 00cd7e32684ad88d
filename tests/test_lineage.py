"""Lineage: a finished folder is trusted by the recipe that made it, and by no other."""

from pathlib import Path

from pipeline.endpoints import TeacherSettings
from pipeline.generate import Sampling
from pipeline.lineage import begin, finish, state
from pipeline.settings import fingerprint
from pipeline.store import Store


def test_a_folder_goes_from_new_to_begun_to_done(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    assert state(store, "traces", fingerprint="a") == "new"
    begin(store, "traces", fingerprint="a")
    assert state(store, "traces", fingerprint="a") == "begun"
    finish(store, "traces", fingerprint="a")
    assert state(store, "traces", fingerprint="a") == "done"


def test_another_recipe_finds_it_stale_and_starts_over(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    begin(store, "traces", fingerprint="a")
    store.write_bytes("traces/shard-00000.parquet", b"old")
    store.write_bytes("ledger/distill/a.parquet", b"bought")
    finish(store, "traces", fingerprint="a")
    assert state(store, "traces", fingerprint="b") == "stale"
    begin(store, "traces", fingerprint="b")
    assert not store.exists("traces/shard-00000.parquet")
    assert store.exists("ledger/distill/a.parquet")
    assert state(store, "traces", fingerprint="b") == "begun"


def test_beginning_again_keeps_what_was_done(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    begin(store, "traces", fingerprint="a")
    store.write_bytes("traces/shard-00000.parquet", b"mine")
    begin(store, "traces", fingerprint="a")
    assert store.exists("traces/shard-00000.parquet")


def test_files_of_unknown_origin_are_not_trusted(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.write_bytes("traces/shard-00000.parquet", b"whose?")
    begin(store, "traces", fingerprint="a")
    assert not store.exists("traces/shard-00000.parquet")


def test_a_fingerprint_changes_with_the_data_and_not_with_the_speed() -> None:
    def teacher(**more: object) -> TeacherSettings:
        return TeacherSettings(**{"model": "m", "served_by": "h", "base_url": "http://h/v1", **more})

    mine = fingerprint("distill", teacher(), Sampling(max_tokens=8))
    same = [teacher(in_flight=1), teacher(base_url="http://i/v1"), teacher(completion_usd_per_mtok=3.0)]
    assert {fingerprint("distill", one, Sampling(max_tokens=8)) for one in same} == {mine}
    other = [
        fingerprint("evaluate", teacher(), Sampling(max_tokens=8)),
        fingerprint("distill", teacher(model="n"), Sampling(max_tokens=8)),
        fingerprint("distill", teacher(), Sampling(max_tokens=9)),
        fingerprint("distill", [teacher()], Sampling(max_tokens=8)),
    ]
    assert len({mine, *other}) == 5
