"""Training survives its cluster: whatever is killed, every loss and every weight is the unbroken run's."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny import ROOT, summary
from training_cluster import QUICK, Nodes, Training, nodes, training_recipe
from unbroken import equals_the_unbroken, every_step_is_told_once

from cluster.training.kept import Kept
from pipeline.store import Store

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def cluster() -> Iterator[Nodes]:
    with nodes(3) as made:
        yield made


def test_nothing_that_is_killed_changes_a_loss_or_a_weight(cluster: Nodes, tmp_path: Path) -> None:
    """Three ranks, and then a node is killed, a rank, a node is taken back, the command is killed, nodes come back."""
    path = training_recipe(tmp_path, rows=60)
    training = Training(path, tmp_path / "runs", address=cluster.address)
    training.further(3)
    since("node", cluster.kill)
    training.further(3)
    since("rank", lambda: os.kill(cluster.workers()[-1].pid, signal.SIGKILL))
    training.further(3)
    since("drain", cluster.drain)
    training.wait(lambda: len(cluster.workers()) == 1)
    left = training.noted()
    # Two checkpoints, for the newest is taken away below: the steps before the other one stay this rank's.
    training.further(6)
    since("command", training.kill)
    cluster.kill()
    cluster.add()
    cluster.add()
    newest = the_newest_that_is_noted(training, cluster)
    a_damaged_checkpoint_is_named(path, tmp_path, cluster, newest)
    shutil.rmtree(newest)
    again = Training(path, tmp_path / "runs", address=cluster.address)
    code, out, err = again.ended()
    since("end", lambda: None)
    assert code == 0, out[-2000:] + err[-4000:]
    phase = summary(tmp_path, "train")["phases"][0]
    # A step is lost with what is killed, none with what is taken back.
    assert left in phase["resumed_at"]
    assert set(phase["ranks"].values()) == {1, 2, 3}
    assert len(phase["resumed_at"]) == 4
    assert (again.phase / "export").is_dir()
    assert not list(again.phase.glob("checkpoint_*")), "a finished phase keeps none"
    every_step_is_told_once(tmp_path, phase)
    equals_the_unbroken(path, tmp_path, phase)


def test_an_interrupt_is_one_line_and_an_export_that_fails_is_done_again_without_a_step(
    cluster: Nodes, tmp_path: Path
) -> None:
    path = training_recipe(tmp_path, rows=60, workers=1)
    training = Training(path, tmp_path / "runs", address=cluster.address)
    training.further(3)
    training.process.send_signal(signal.SIGINT)
    code, out, err = training.ended()
    assert code == 130, out + err
    assert err.strip().splitlines()[-1] == "error: interrupted; the same command goes on from here"
    # A folder where the export's first file is to be.
    blocked = training.phase / "export" / "config.json"
    blocked.mkdir(parents=True)
    training = Training(path, tmp_path / "runs", address=cluster.address)
    code, out, err = training.ended()
    assert code == 1, out + err
    assert "can't write" in err.strip().splitlines()[-1]
    blocked.rmdir()
    again = Training(path, tmp_path / "runs", address=cluster.address)
    code, out, err = again.ended()
    assert code == 0, out[-2000:] + err[-4000:]
    phase = summary(tmp_path, "train")["phases"][0]
    assert len(phase["resumed_at"]) == 2
    assert phase["resumed_at"][-1] == phase["steps"]
    assert not list(again.phase.glob("checkpoint_*")), "a finished phase keeps none"
    equals_the_unbroken(path, tmp_path, phase, falls_to=0.98)


def test_what_watches_lies_beside_the_driver(cluster: Nodes) -> None:
    """And is not lost with some worker's node: soft, one in three would lie elsewhere."""
    code = """
import ray
from cluster.placement import beside_driver
ray.init(log_to_driver=False)
class Lies:
    def where(self):
        return ray.get_runtime_context().get_node_id()
lie = ray.remote(num_cpus=0)(Lies).options(scheduling_strategy=beside_driver())
actors = [lie.remote() for _ in range(12)]
print("all beside:", {ray.get(actor.where.remote()) for actor in actors} == {ray.get_runtime_context().get_node_id()})
"""
    environment = os.environ | QUICK | {"RAY_ADDRESS": cluster.address}
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
    )
    assert "all beside: True" in ended.stdout, ended.stdout + ended.stderr[-2000:]


def since(what: str, do: Any) -> None:
    print(f"{time.strftime('%T')} {what}", flush=True)
    do()


def the_newest_that_is_noted(training: Training, cluster: Nodes) -> Path:
    """A killed command may leave checkpoints that Ray had not noted: what goes on from there first sets that right."""
    while cluster.workers():
        time.sleep(0.1)
    kept = Kept(Store(str(training.phase)), "")
    kept.tidy()
    return training.phase / list(kept.noted())[-1]


def a_damaged_checkpoint_is_named(path: Path, folder: Path, cluster: Nodes, newest: Path) -> None:
    file = next(newest.glob("state/*_optim_states.pt"))
    os.truncate(file, file.stat().st_size // 2)
    code, out, err = Training(path, folder / "runs", address=cluster.address).ended()
    assert code == 1, out + err
    last = err.strip().splitlines()[-1]
    assert f"the checkpoint in {newest} is damaged: state/{file.name} has" in last
    assert "delete that folder and run the same command again" in last
