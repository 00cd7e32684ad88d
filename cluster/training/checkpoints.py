"""Sharded checkpoints: what is in one, whose it is, and going on from it on the same or another number of ranks."""

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from cluster.training.plan import History, PhasePlan
from pipeline.errors import Stop

_TAG = "state"
_ABOUT = "about.json"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint on this node, and how many ranks wrote it."""

    folder: Path
    ranks: int

    @property
    def is_foreign(self) -> bool:
        """Whether another number of ranks wrote it, so that it must go through DeepSpeed's universal form."""
        return self.ranks != dist.get_world_size()


def written(engine: Any, history: History, plan: PhasePlan, to: Path) -> None:
    """Write this rank's part of a checkpoint into a folder; every rank calls it."""
    engine.save_checkpoint(str(to), tag=_TAG, client_state={"history": asdict(history)})
    if dist.get_rank() == 0:
        about = {"identity": plan.identity, "ranks": dist.get_world_size(), "step": history.done}
        (to / _ABOUT).write_text(json.dumps(about))


def found(folder: Path | None, plan: PhasePlan) -> Checkpoint | None:
    """The checkpoint in a folder. Raises Stop when it is another phase's or model's."""
    if folder is None:
        return None
    about = json.loads((folder / _ABOUT).read_text())
    if about["identity"] != plan.identity:
        raise Stop(f"the checkpoint in {folder} is of another model, data set or recipe: move it away to start anew")
    return Checkpoint(folder, about["ranks"])


def restored(engine: Any, checkpoint: Checkpoint | None) -> History:
    """Put a checkpoint's weights and optimizer into the engine; the history so far, empty without one."""
    if checkpoint is None:
        return History()
    tag = _universal(checkpoint.folder) if checkpoint.is_foreign else _TAG
    options = [{name: value for name, value in group.items() if name != "params"} for group in _groups(engine)]
    _, state = engine.load_checkpoint(str(checkpoint.folder), tag=tag)
    _mended(engine, options)
    history = History(**state["history"])
    history.resumed_at.append(history.done)
    return history


def _groups(engine: Any) -> list[dict[str, Any]]:
    groups: list[dict[str, Any]] = engine.optimizer.optimizer.param_groups
    return groups


def _mended(engine: Any, options: list[dict[str, Any]]) -> None:
    """Undo what loading a universal checkpoint does to the optimizer (DeepSpeed 0.19.8, stage3.py).

    It gives every group the options of the first, weight decay for norms included, and all states one step tensor,
    which then counts each group's update as a step of all.
    """
    for group, held in zip(_groups(engine), options, strict=True):
        group.update(held)
    for state in engine.optimizer.optimizer.state.values():
        if torch.is_tensor(state.get("step")):
            state["step"] = state["step"].clone()


def _universal(folder: Path) -> str:
    """The tag of the checkpoint in DeepSpeed's universal form, made once on each node."""
    tag = f"{_TAG}_universal"
    if dist.get_rank() == 0:
        command = [sys.executable, "-m", "deepspeed.checkpoint.ds_to_universal", "--inject_missing_state"]
        subprocess.run(
            [*command, "--input_folder", str(folder / _TAG), "--output_folder", str(folder / tag)], check=True
        )
    dist.barrier()
    return tag
