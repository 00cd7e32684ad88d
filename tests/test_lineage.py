"""Lineage: a finished folder is trusted by the recipe that made it, and by no other."""

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from pipeline.curate import CurateSettings
from pipeline.difficulty import DifficultySettings
from pipeline.endpoints import TeacherSettings
from pipeline.generate import Sampling
from pipeline.lineage import begin, finish, state
from pipeline.settings import Settings, fingerprint, identity
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


def test_what_a_recipe_could_say_later_leaves_finished_runs_as_they_are() -> None:
    # Computed by the version before the fields were added: of these runs nothing must be made again.
    curate, difficulty = "d01bc21f3ba814a833c59706214f25d7", "10f36d65a72a148e768edd1dd6b12a9f"
    assert fingerprint(CurateSettings()) == fingerprint(CurateSettings(without=())) == curate
    assert fingerprint(DifficultySettings()) == fingerprint(DifficultySettings(unmeasured="keep")) == difficulty
    assert fingerprint({"a": [DifficultySettings(draws=8, below=0.9)]}) == "0d9c2934dfbeddb24e7376a9d4d32ef1"
    rules = tuple(rule for rule in CurateSettings().rules if rule not in ("image", "proof"))
    taken_out = "0723b992f07da0456320239ee76daf99"
    assert (
        fingerprint(CurateSettings(without=("image", "proof"))) == fingerprint(CurateSettings(rules=rules)) == taken_out
    )
    assert fingerprint(DifficultySettings(unmeasured="drop")) != difficulty


def test_a_later_field_counts_from_where_it_is_not_its_default() -> None:
    class Inner(Settings):
        operational: ClassVar[frozenset[str]] = frozenset({"speed"})
        depth: int = 1
        speed: int = 1

    class Before(Settings):
        width: int = 2

    class After(Before):
        later: ClassVar[frozenset[str]] = frozenset({"inner", "names"})
        inner: Inner = Inner()
        names: list[str] = Field(default_factory=lambda: ["a"])

    assert identity(After()) == identity(Before()) == {"width": 2}
    assert identity(After(inner=Inner(speed=9), names=["a"])) == {"width": 2}
    assert identity(After(inner=Inner(depth=9))) == {"width": 2, "inner": {"depth": 9}}
    assert identity(After(names=[])) == {"width": 2, "names": []}


def test_what_stays_out_of_the_identity_is_a_field() -> None:
    kinds, seen = [Settings], 0
    while kinds:
        kind = kinds.pop()
        kinds += kind.__subclasses__()
        assert kind.operational | kind.later <= set(kind.model_fields), kind
        assert not kind.operational & kind.later, kind
        seen += bool(kind.operational | kind.later)
    assert seen >= 3
