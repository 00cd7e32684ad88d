"""The run's lock: one command at a time, and none that is gone stands in the way."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.errors import Stop
from pipeline.lock import locked
from pipeline.store import Store

ROOT = Path(__file__).resolve().parent.parent
HOLD = (
    "import sys, time\nfrom pipeline.lock import locked\nfrom pipeline.store import Store\n"
    "with locked(Store(sys.argv[1]), command='jobs.distill'):\n    print('held', flush=True)\n    time.sleep(60)\n"
)


def holder(folder: Path, *, before: str = "") -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", before + HOLD, str(folder)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_command_is_turned_away_and_told_by_whom(tmp_path: Path) -> None:
    process = holder(tmp_path)
    try:
        with (
            pytest.raises(Stop, match=rf"jobs\.distill \(process {process.pid} on "),
            locked(Store(str(tmp_path)), command="b"),
        ):
            pass
    finally:
        process.kill()
        process.wait()


def test_a_command_that_was_killed_is_taken_over_at_once_waited_for_or_not(tmp_path: Path) -> None:
    process = holder(tmp_path)
    os.kill(process.pid, signal.SIGKILL)
    time.sleep(0.2)
    # Not waited for yet: a zombie holds nothing.
    with locked(Store(str(tmp_path)), command="again"):
        pass
    process.wait()
    with locked(Store(str(tmp_path)), command="again"):
        assert json.loads((tmp_path / "lock.json").read_text())["process"] == os.getpid()
    assert not (tmp_path / "lock.json").exists()


def test_another_machines_lock_holds_until_it_shows_no_sign_of_life(tmp_path: Path) -> None:
    held = {"command": "jobs.run", "machine": "another-machine", "process": 1, "started": 0.0}
    (tmp_path / "lock.json").write_text(json.dumps({**held, "beat": time.time() - 30}))
    with pytest.raises(Stop, match="another-machine"), locked(Store(str(tmp_path)), command="b"):
        pass
    (tmp_path / "lock.json").write_text(json.dumps({**held, "beat": time.time() - 61}))
    with locked(Store(str(tmp_path)), command="b"):
        pass


@pytest.mark.parametrize("handler", ["default_int_handler", "SIG_IGN"])
def test_a_command_whose_run_was_taken_over_ends_and_leaves_the_others_lock(tmp_path: Path, handler: str) -> None:
    """Also one that ignores interrupts, as a script's `command &` does."""
    quick = f"import signal\nfrom pipeline import lock\nsignal.signal(signal.SIGINT, signal.{handler})\n"
    quick += "lock._BEAT_S, lock._GRACE_S = 0.05, 1.0\n"
    process = holder(tmp_path, before=quick)
    other = {"command": "jobs.run", "machine": "another-machine", "process": 1, "started": 0.0, "beat": time.time()}
    while process.poll() is None:
        # It shows signs of life too.
        Store(str(tmp_path)).write_json("lock.json", other)
        time.sleep(0.02)
    _, err = process.communicate()
    assert (process.returncode, err.count("another command took")) == (1, 1)
    assert ("Stop" in err) == (handler == "default_int_handler")
    assert json.loads((tmp_path / "lock.json").read_text()) == other
