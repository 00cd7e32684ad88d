"""Training on Ray Train with ZeRO-3: a lost worker changes nothing, and what is exported is what was trained."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from tiny import recipe, recorded, start, succeed, summary, tiny_model

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def chosen(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A recipe and a run of it that is ready to be trained."""
    folder = tmp_path_factory.mktemp("chosen")
    tiny_model(folder / "model")
    path = recipe(folder, recorded(folder / "problems.jsonl", problems=40))
    for job in ("curate", "distill", "choose"):
        succeed(job, path)
    return path, folder / "runs" / "made"


def copied(chosen: tuple[Path, Path], folder: Path) -> list[object]:
    """The recipe and the override that puts a copy of its run below the folder."""
    path, run = chosen
    shutil.copytree(run, folder / "runs" / "made")
    return [path, f"storage={folder / 'runs'}"]


def phase(folder: Path) -> dict[str, object]:
    return summary(folder, "train")["phases"][0]


def kill_a_worker(pid: int) -> None:
    workers = [p for p in psutil.Process(pid).children(recursive=True) if "RayTrainWorker" in " ".join(p.cmdline())]
    assert workers
    os.kill(workers[-1].pid, signal.SIGKILL)


def test_lost_workers_and_other_numbers_of_them_change_no_loss_and_the_export_opens(
    chosen: tuple[Path, Path], tmp_path: Path
) -> None:
    torch = pytest.importorskip("torch")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    steps = ["train.phases.0.epochs=16", "train.checkpoint_steps=4", "train.dtype=float32"]
    succeed("train", *copied(chosen, tmp_path / "alone"), *steps, "train.workers=1")
    alone = phase(tmp_path / "alone")
    assert alone["steps"] > 20
    assert alone["loss_last"] < 0.8 * alone["loss_first"]

    training = start("train", *copied(chosen, tmp_path / "pair"), *steps)
    kill_a_worker_after_a_checkpoint(training, tmp_path / "pair" / "runs" / "made" / "checkpoints")
    out, err = training.communicate(timeout=400)
    assert training.returncode == 0, out[-2000:] + err[-4000:]
    resumed = phase(tmp_path / "pair")
    assert resumed["resumed_at"], "the worker was killed after the last step: nothing was tested"
    # Two ranks, one of them lost on the way, against one rank that never stopped.
    assert resumed["losses"] == pytest.approx(alone["losses"], rel=1e-3)

    models = [tmp_path / name / "runs" / "made" / "model" for name in ("pair", "alone")]
    pair, one = (AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32) for folder in models)
    for (name, mine), theirs in zip(pair.named_parameters(), one.parameters(), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-3), name
    tokenizer = AutoTokenizer.from_pretrained(models[0])
    assert pair.generation_config.eos_token_id == [1, tokenizer.convert_tokens_to_ids("<|end|>")]


def kill_a_worker_after_a_checkpoint(training: "subprocess.Popen[str]", checkpoints: Path) -> None:
    deadline = time.monotonic() + 300
    # A checkpoint counts once Ray's controller has noted it, which may be later than its folder.
    while not any("checkpoint_2" in note.read_text() for note in checkpoints.glob("*-only/checkpoint_manager_*.json")):
        assert training.poll() is None, training.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    kill_a_worker(training.pid)
