"""Training survives its cluster: whatever is killed, every loss and every weight is the unbroken run's."""

import json
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
from training_cluster import Nodes, Training, nodes, training_recipe

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
    training.further(3)
    since("command", training.kill)
    cluster.kill()
    cluster.add()
    cluster.add()
    newest = sorted(training.phase.glob("checkpoint_20*"))[-1]
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
    assert [each.name for each in again.phase.iterdir()] == ["export"]
    equals_the_unbroken(path, tmp_path, phase)


def since(what: str, do: Any) -> None:
    print(f"{time.strftime('%T')} {what}", flush=True)
    do()


def a_damaged_checkpoint_is_named(path: Path, folder: Path, cluster: Nodes, newest: Path) -> None:
    file = next(newest.glob("state/*_optim_states.pt"))
    os.truncate(file, file.stat().st_size // 2)
    code, out, err = Training(path, folder / "runs", address=cluster.address).ended()
    assert code == 1, out + err
    last = err.strip().splitlines()[-1]
    assert f"the checkpoint in {newest} is damaged: state/{file.name} has" in last
    assert "delete that folder and run the same command again" in last


def equals_the_unbroken(path: Path, folder: Path, phase: dict[str, Any]) -> None:
    """Losses, windows, examples and weights against one rank that nobody hit."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    run, to = folder / "runs" / "made", folder / "unbroken"
    command = [sys.executable, "tests/unbroken.py", str(path), str(run), str(to)]
    ended = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    unbroken = json.loads((to / "history.json").read_text())
    print("largest difference", max(abs(a - b) for a, b in zip(phase["losses"], unbroken["loss"], strict=True)))
    print("resumed at", phase["resumed_at"], "ranks", phase["ranks"])
    assert phase["losses"] == pytest.approx(unbroken["loss"], rel=1e-4)
    assert phase["losses"][-1] < 0.8 * phase["losses"][0]
    every_example_once_an_epoch(run, phase["windows"])
    model = AutoModelForCausalLM.from_pretrained(run / "model", dtype=torch.float32)
    weights = torch.load(to / "weights.pt")
    print("weights", max(float((mine - weights[name]).abs().max()) for name, mine in model.named_parameters()))
    for name, mine in model.named_parameters():
        assert torch.allclose(mine, weights[name], atol=1e-4), name
    tokenizer = AutoTokenizer.from_pretrained(run / "model")
    assert model.generation_config.eos_token_id == [1, tokenizer.convert_tokens_to_ids("<|end|>")]


def every_example_once_an_epoch(run: Path, taken: list[list[int]]) -> None:
    """What the ranks told that they took, mapped to the rows' ids."""
    from cluster.packs import Windows
    from pipeline.store import Store

    windows = Windows(Store(str(run)), "packs/only")
    flat = [number for step in taken for number in step]
    assert len(flat) == 10 * len(windows)
    for first in range(0, len(flat), len(windows)):
        seen = [example for number in flat[first : first + len(windows)] for example in windows[number].examples]
        assert sorted(int(example.rpartition(":")[2]) for example in seen) == list(range(60))
