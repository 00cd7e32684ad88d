"""Which checkpoints count: half-written ones go, damaged ones are named, whole ones are found again."""

import errno
import json
import subprocess
import sys
from pathlib import Path

import pyarrow.fs as pafs
import pytest
import ray.exceptions
from ray.train import ControllerError, WorkerGroupError

from cluster.training.agree import difference
from cluster.training.failures import hopeless, line, unwritten
from cluster.training.kept import Kept, read_about
from cluster.training.scratch import scratch
from pipeline.errors import Stop
from pipeline.store import Store


def checkpoint(folder: Path, name: str, step: int) -> Path:
    at = folder / "phase" / name
    (at / "state").mkdir(parents=True)
    (at / "state" / "rank_0").write_bytes(b"weights")
    about = {"identity": "x", "ranks": 1, "step": step, "files": {"state/rank_0": 7}}
    (at / "about.json").write_text(json.dumps(about))
    return at


def note(folder: Path) -> list[str]:
    """What Ray itself makes of its note."""
    from ray.train.v2._internal.execution.checkpoint.checkpoint_manager import _CheckpointManagerState

    state = _CheckpointManagerState.model_validate(
        json.loads((folder / "phase" / "checkpoint_manager_snapshot.json").read_text())
    )
    assert state.latest_checkpoint_result == state.checkpoint_results[-1]
    assert len(state.checkpoint_report_indices) == len(state.checkpoint_results)
    return [result.checkpoint_dir_name for result in state.checkpoint_results]


def test_what_a_kill_left_half_written_goes_and_the_note_is_made_anew(tmp_path: Path) -> None:
    """Steps decide which is the newest, not names; a note that was cut off is no loss."""
    checkpoint(tmp_path, "checkpoint_b", 5)
    checkpoint(tmp_path, "checkpoint_a", 10)
    (checkpoint(tmp_path, "checkpoint_c", 15) / "state" / "rank_0").write_bytes(b"weig")
    (checkpoint(tmp_path, "checkpoint_d", 20) / "about.json").write_text('{"identity": "x", "ra')
    (checkpoint(tmp_path, "checkpoint_e", 25) / "about.json").unlink()
    (tmp_path / "phase" / "export").mkdir()
    (tmp_path / "phase" / "checkpoint_manager_snapshot.json").write_text('{"ray_version": "2.')
    kept = Kept(Store(str(tmp_path)), "phase")
    kept.tidy()
    assert kept.names() == ["checkpoint_a", "checkpoint_b"]
    assert note(tmp_path) == ["checkpoint_b", "checkpoint_a"]
    kept.delete()
    assert [path.name for path in (tmp_path / "phase").iterdir()] == ["export"]


def test_a_checkpoint_that_was_damaged_later_stays_and_is_named_until_it_is_deleted(tmp_path: Path) -> None:
    checkpoint(tmp_path, "checkpoint_1", 5)
    newest = checkpoint(tmp_path, "checkpoint_2", 10)
    kept = Kept(Store(str(tmp_path)), "phase")
    kept.tidy()
    (newest / "state" / "rank_0").write_bytes(b"weig")
    kept.tidy()
    assert note(tmp_path) == ["checkpoint_1", "checkpoint_2"]
    for look in (lambda: kept.check("x"), lambda: read_about(newest, "x")):
        with pytest.raises(Stop, match=r"checkpoint_2 is damaged: state/rank_0 has 4 bytes instead of 7; delete that"):
            look()
    (newest / "about.json").unlink()
    for look in (lambda: kept.check("x"), lambda: read_about(newest, "x")):
        with pytest.raises(Stop, match=r"about\.json is missing"):
            look()
    kept.store.delete_folder("phase/checkpoint_2")
    kept.tidy()
    assert note(tmp_path) == ["checkpoint_1"]
    kept.check("x")
    for look in (lambda: kept.check("y"), lambda: read_about(tmp_path / "phase" / "checkpoint_1", "y")):
        with pytest.raises(Stop, match=r"checkpoint_1 is of another model, data set or recipe"):
            look()


def test_a_killed_rank_s_scratch_goes_with_the_next_one_and_a_living_one_s_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    body = (
        "import sys\nfrom cluster.training.scratch import scratch\nwith scratch() as folder:\n"
        "    (folder / 'x').write_text('x')\n    print(folder, flush=True)\n    sys.stdin.read()"
    )
    other = subprocess.Popen([sys.executable, "-c", body], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    theirs = Path(other.stdout.readline().strip())
    with scratch() as mine:
        assert (theirs / "x").exists()
        assert mine.exists()
    assert not mine.exists()
    other.kill()
    other.communicate()
    assert (theirs / "x").exists()
    with scratch():
        assert not theirs.exists()
    assert not list(theirs.parent.iterdir())


def test_ranks_that_disagree_are_told_apart_by_what_and_where() -> None:
    same, other = {"torch": "2.13.0", "code": "aa"}, {"torch": "2.12.0", "code": "aa"}
    assert difference([("a", same), ("b", same)]) is None
    found = difference([("a", same), ("b", same), ("c", other)])
    assert found is not None
    assert "disagree on torch: 2.12.0 on node c (rank 2), 2.13.0 on 2 of 3 ranks" in found


def test_what_another_try_would_meet_again_ends_a_training_at_once() -> None:
    """A rank's Stop counts before the broken connections that it leaves on the others."""
    stop, broken = Stop("the disk is full"), RuntimeError("Connection closed by peer [127.0.0.1]:1")
    assert hopeless({0: broken, 1: stop}) is stop
    assert hopeless({0: broken, 1: ray.exceptions.ActorDiedError()}) is None
    assert hopeless({0: OSError(errno.EIO, "a store that was away")}) is None
    bug = hopeless({0: broken, 1: TypeError("no such thing\nmore")})
    assert str(bug) == "rank 1 failed: TypeError: no such thing"
    assert line(ControllerError(stop)) == "the disk is full"
    assert line(WorkerGroupError("", {0: broken, 1: stop})) == "the disk is full"
    died = line(WorkerGroupError("", {0: broken, 1: ray.exceptions.ActorDiedError()}))
    assert died == "rank 1 is gone: its process was killed, or its node lost, once more than train.max_failures allows"


def test_a_full_disk_is_a_line_with_the_path_and_a_hiccup_is_none() -> None:
    full = unwritten("/mnt/store/x", OSError(errno.ENOSPC, "No space left on device"))
    assert full is not None
    assert "can't write a checkpoint to /mnt/store/x: no space is left there" in str(full)
    assert "the last one is kept" in str(full)
    assert unwritten("x", OSError(errno.ECONNRESET, "reset")) is None


def test_checkpoints_in_an_object_store_with_options_in_its_uri(tmp_path: Path) -> None:
    """A half-uploaded one goes, a whole one is found, as Ray's controller will find it."""
    from ray.train import CheckpointConfig
    from ray.train.v2._internal.execution.checkpoint.checkpoint_manager import CheckpointManager
    from ray.train.v2._internal.execution.storage import StorageContext
    from s3 import BUCKET, served

    with served() as options:
        store = Store(f"s3://{BUCKET}/runs/made?{options}")
        for name, sizes in (("checkpoint_1", 7), ("checkpoint_2", 8)):
            about = {"identity": "x", "ranks": 1, "step": sizes, "files": {"state/rank_0": sizes}}
            store.write_json(f"phase/{name}/about.json", about)
            store.write_bytes(f"phase/{name}/state/rank_0", b"weights")
        kept = Kept(store, "phase")
        kept.tidy()
        kept.check("x")
        assert kept.names() == ["checkpoint_1"]
        assert kept.noted() == {"checkpoint_1": 7}
        fs, base = pafs.FileSystem.from_uri(store.root)
        found = CheckpointManager(CheckpointConfig(), StorageContext(f"{base}", "phase", storage_filesystem=fs))
        assert found.latest_checkpoint_result.checkpoint.path.endswith("runs/made/phase/checkpoint_1")
        kept.delete()
        assert kept.names() == []
