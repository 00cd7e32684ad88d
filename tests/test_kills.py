"""Training survives its cluster: whatever is killed, every loss and every weight is the unbroken run's."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny import ROOT, summary
from training_cluster import Nodes, Training, nodes, training_recipe

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def cluster() -> Nodes:
    with nodes(3) as made:
        yield made


def test_nothing_that_is_killed_changes_a_loss(cluster: Nodes, tmp_path: Path) -> None:
    """Three ranks; a node is killed, a rank, a node is taken back, the command is killed, and nodes come back."""
    path = training_recipe(tmp_path, rows=60)
    training = Training(path, tmp_path / "runs", address=cluster.address)
    print("start", time.strftime("%T"), flush=True)
    training.further(3)
    print("node", training.noted(), time.strftime("%T"), flush=True)
    cluster.kill()
    training.further(3)
    print("rank", training.noted(), time.strftime("%T"), flush=True)
    os.kill(cluster.workers()[-1].pid, signal.SIGKILL)
    training.further(3)
    print("drain", training.noted(), time.strftime("%T"), flush=True)
    cluster.drain()
    training.wait(lambda: len(cluster.workers()) == 1)
    print("drained", training.noted(), time.strftime("%T"), flush=True)
    training.further(3)
    print("command", training.noted(), time.strftime("%T"), flush=True)
    training.kill()
    cluster.kill()
    cluster.add()
    cluster.add()
    again = Training(path, tmp_path / "runs", address=cluster.address)
    print("again", time.strftime("%T"), flush=True)
    code, out, err = again.ended()
    print("end", time.strftime("%T"), flush=True)
    assert code == 0, out[-2000:] + err[-4000:]
    check(path, tmp_path)


def check(path: Path, folder: Path) -> None:
    command = [sys.executable, "tests/unbroken.py", str(path), str(folder / "runs" / "made"), str(folder / "unbroken")]
    subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True, capture_output=True)
    unbroken = json.loads((folder / "unbroken" / "history.json").read_text())
    phase = summary(folder, "train")["phases"][0]
    print(phase["resumed_at"], phase["ranks"], max(abs(a / b - 1) for a, b in zip(phase["losses"], unbroken["loss"])))
    assert phase["losses"] == pytest.approx(unbroken["loss"], rel=1e-4)
    assert phase["windows"] == unbroken["windows"]
