"""Training on Ray Train with ZeRO-3: a lost worker changes nothing, and what is exported is what was trained."""

import json
import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from runs import recipe, recorded, start, succeed, summary, tiny_model

pytestmark = pytest.mark.ray


def prepared(folder: Path) -> Path:
    folder.mkdir()
    tiny_model(folder / "model")
    path = recipe(folder, recorded(folder / "problems.jsonl", problems=40))
    for job in ("curate", "distill", "choose"):
        succeed(job, path)
    return path


def phase(folder: Path) -> dict[str, object]:
    return summary(folder, "train")["phases"][0]


def kill_a_worker(pid: int) -> None:
    workers = [p for p in psutil.Process(pid).children(recursive=True) if "RayTrainWorker" in " ".join(p.cmdline())]
    assert workers
    os.kill(workers[-1].pid, signal.SIGKILL)


def test_a_lost_worker_changes_no_loss_and_the_export_opens(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = prepared(tmp_path / "a")
    steps = ["train.phases.0.epochs=8", "train.checkpoint_steps=5", "train.dtype=float32"]
    succeed("train", path, *steps)
    unbroken = phase(tmp_path / "a")
    assert unbroken["steps"] > 20
    assert unbroken["loss_last"] < 0.8 * unbroken["loss_first"]

    training = start("train", path, *steps, f"storage={tmp_path / 'a' / 'second'}", "train.max_failures=2")
    training.communicate(timeout=300)
    assert training.returncode == 1, "a storage without a data set must be refused"

    broken = prepared(tmp_path / "b")
    training = start("train", broken, *steps)
    checkpoints = tmp_path / "b" / "runs" / "made" / "checkpoints"
    deadline = time.monotonic() + 300
    while not list(checkpoints.glob("*-only/checkpoint_*")):
        assert training.poll() is None, training.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    kill_a_worker(training.pid)
    out, err = training.communicate(timeout=400)
    assert training.returncode == 0, out[-2000:] + err[-4000:]
    resumed = phase(tmp_path / "b")
    assert resumed["resumed_at"], "the worker was killed after the last step: nothing was tested"
    assert resumed["losses"] == pytest.approx(unbroken["losses"], rel=1e-3)

    folder = tmp_path / "b" / "runs" / "made" / "model"
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    other = AutoModelForCausalLM.from_pretrained(tmp_path / "a" / "runs" / "made" / "model", dtype=torch.float32)
    for (name, mine), theirs in zip(model.named_parameters(), other.parameters(), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-3), name
    assert model.generation_config.eos_token_id == [1, tokenizer.convert_tokens_to_ids("<|end|>")]
    assert json.loads((folder / "step.json").read_text())["done"]


def test_one_rank_and_two_have_the_same_losses(tmp_path: Path) -> None:
    path = prepared(tmp_path / "a")
    losses = []
    for workers in (1, 2):
        # A hair of a different rate makes it train again: the number of workers is no part of a model's identity.
        succeed("train", path, f"train.workers={workers}", "train.dtype=float32", f"train.lr={1e-3 + workers * 1e-12}")
        losses.append(phase(tmp_path / "a")["losses"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
