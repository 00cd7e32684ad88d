"""The same phase on one rank that nobody hits, over torch.distributed alone: what a training that is hit must equal."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from tiny import ROOT


class _Alone:
    """Nothing to go on from, nothing to keep."""

    @contextlib.contextmanager
    def last(self) -> Iterator[None]:
        yield None

    def keep(self, write: Any, history: Any, total: int) -> None:
        pass

    def leaving(self) -> bool:
        return False

    def begun(self, model: Any, plan: Any, history: Any, total: int) -> None:
        pass

    def told(self, plan: Any, history: Any, total: int) -> None:
        pass


def main(recipe: str, run: str, to: str, *overrides: str) -> None:
    """Train the recipe's only phase over the packs in a run's folder, and write history.json and the weights."""
    os.environ |= {"DS_ACCELERATOR": "cpu", "RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    import deepspeed
    import torch
    import torch.distributed as dist

    from cluster.training.loop import train
    from cluster.training.plan import PhasePlan
    from jobs.recipe_file import load
    from pipeline.store import Store

    read = load(recipe, ["train.workers=1", *overrides])
    phase = read.train.phases[0]
    plan = PhasePlan(
        Store(run), read.student.model, "", f"packs/{phase.name}", None, "", read.train, phase, read.training_seed
    )
    with tempfile.TemporaryDirectory() as meeting:
        dist.init_process_group("gloo", init_method=f"file://{meeting}/all", rank=0, world_size=1)
        trained = train(plan, _Alone())
        named = dict(trained.opened.engine.module.model.named_parameters())
        with deepspeed.zero.GatheredParameters(list(named.values())):
            weights = {name: parameter.detach().clone() for name, parameter in named.items()}
    Path(to).mkdir(parents=True)
    Path(to, "history.json").write_text(json.dumps(asdict(trained.history)))
    torch.save(weights, Path(to, "weights.pt"))


def _train(path: Path, run: Path, to: Path, overrides: Sequence[str]) -> None:
    command = [sys.executable, "tests/unbroken.py", str(path), str(run), str(to), *overrides]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-3000:]


def equals_the_unbroken(
    path: Path,
    folder: Path,
    phase: dict[str, Any],
    *,
    rows: int = 60,
    falls_to: float = 0.8,
    to: Path | None = None,
    overrides: Sequence[str] = (),
    rel: float = 1e-4,
) -> None:
    """Losses, windows, examples and weights against one rank that nobody hit; the loss must fall to such a share.

    What that rank leaves is kept in `to`, for others of the same recipe and overrides. `rel` is how far apart losses
    may be; of low-rank additions, which are exported merged, the weights are not compared.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    run, to = folder / "runs" / "made", to or folder / "unbroken"
    if not to.exists():
        _train(path, run, to, overrides)
    unbroken = json.loads((to / "history.json").read_text())
    print("largest difference", max(abs(a - b) for a, b in zip(phase["losses"], unbroken["loss"], strict=True)))
    print("resumed at", phase["resumed_at"], "ranks", phase["ranks"])
    assert phase["losses"] == pytest.approx(unbroken["loss"], rel=rel)
    assert phase["losses"][-1] < falls_to * phase["losses"][0]
    (record,) = (run / "checkpoints").glob("*/export/record.json")
    every_example_once_an_epoch(run, json.loads(record.read_text())["history"]["windows"], rows)
    model = AutoModelForCausalLM.from_pretrained(run / "model", dtype=torch.float32)
    weights = torch.load(to / "weights.pt")
    if not any("lora" in name for name in weights):
        apart = {name: float((mine - weights[name]).abs().max()) for name, mine in model.named_parameters()}
        print("weights", max(apart.values()))
        assert max(apart.values()) < rel, apart
    tokenizer = AutoTokenizer.from_pretrained(run / "model")
    assert model.generation_config.eos_token_id == [1, tokenizer.convert_tokens_to_ids("<|end|>")]


def every_example_once_an_epoch(run: Path, taken: list[list[int]], rows: int) -> None:
    """What the ranks told that they took, mapped to the rows' ids."""
    from cluster.packs import Windows
    from pipeline.store import Store

    windows = Windows(Store(str(run)), "packs/only")
    flat = [number for step in taken for number in step]
    assert len(flat) == 10 * len(windows)
    for first in range(0, len(flat), len(windows)):
        seen = [example for number in flat[first : first + len(windows)] for example in windows[number].examples]
        assert sorted(int(example.rpartition(":")[2]) for example in seen) == list(range(rows))


def every_step_is_told_once(folder: Path, phase: dict[str, Any]) -> None:
    """Whoever watched sees one curve, whatever was lost on the way."""
    (events,) = (folder / "runs" / "made" / "events").glob("train-*.jsonl")
    told = [json.loads(line) for line in events.read_text().splitlines()]
    steps = [line for line in told if line["event"] == "step"]
    assert [line["step"] for line in steps] == list(range(1, phase["steps"] + 1))
    assert [line["loss"] for line in steps] == pytest.approx(phase["losses"])


if __name__ == "__main__":
    main(*sys.argv[1:])
