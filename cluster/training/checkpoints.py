"""Sharded checkpoints: what is in one, whose it is, and going on from it on the same or another number of ranks."""

import errno
import json
import os
import pickle
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from cluster.training.kept import ABOUT, damaged, read_about
from cluster.training.nodewise import made_once
from cluster.training.plan import History, PhasePlan
from cluster.training.scratch import scratch
from pipeline.errors import Stop

_TAG = "state"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


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
    """Write this rank's part of a checkpoint into a folder; every rank calls it. Raises Stop when the disk is full."""
    with _on_disk(to):
        engine.save_checkpoint(str(to), tag=_TAG, client_state={"history": asdict(history)})
        # Of use without this project only, and DeepSpeed's, not ours.
        (to / "zero_to_fp32.py").unlink(missing_ok=True)
        mine = {str(file.relative_to(to)): file.stat().st_size for file in to.rglob("*") if file.is_file()}
        everyone: list[dict[str, int] | None] = [None] * dist.get_world_size()
        dist.all_gather_object(everyone, mine)
        if dist.get_rank() == 0:
            files = {name: size for each in everyone for name, size in (each or {}).items()}
            about = {"identity": plan.identity, "ranks": len(everyone), "step": history.done, "files": files}
            (to / ABOUT).write_text(json.dumps(about))


def found(folder: Path | None, plan: PhasePlan) -> Checkpoint | None:
    """The checkpoint in a folder. Raises Stop when it is another phase's or model's, or damaged."""
    if folder is None:
        return None
    return Checkpoint(folder, read_about(folder, plan.identity)["ranks"])


def restored(engine: Any, checkpoint: Checkpoint | None) -> History:
    """Put a checkpoint's weights and optimizer into the engine; the history so far, empty without one."""
    if checkpoint is None:
        return History()
    options = [{name: value for name, value in group.items() if name != "params"} for group in _groups(engine)]
    if checkpoint.is_foreign:
        with _universal(checkpoint.folder) as folder:
            state = _loaded(engine, folder)
    else:
        state = _loaded(engine, checkpoint.folder)
    _mended(engine, options)
    history = History(**state["history"])
    history.resumed_at.append(history.done)
    return history


def _loaded(engine: Any, folder: Path) -> dict[str, Any]:
    state: dict[str, Any]
    try:
        _, state = engine.load_checkpoint(str(folder), tag=_TAG)
    except (pickle.UnpicklingError, EOFError, RuntimeError) as error:
        # torch's reader has no error class of its own.
        if isinstance(error, RuntimeError) and "PytorchStreamReader" not in str(error):
            raise
        raise Stop(damaged(folder, f"a file in it can't be read ({str(error).splitlines()[0][:120]})")) from error
    return state


@contextmanager
def _on_disk(folder: Path) -> Iterator[None]:
    """Turn a full disk into the line for people; torch's writer tells of it in a RuntimeError of its own."""
    try:
        yield
    except OSError as error:
        why = "no space is left" if error.errno in _FULL else error.strerror
        raise Stop(_unwritten(folder, str(why))) from error
    except RuntimeError as error:
        if "PytorchStreamWriter" not in str(error) and "inline_container" not in str(error):
            raise
        raise Stop(_unwritten(folder, "no space is left, or files may not be so long")) from error


def _unwritten(folder: Path, why: str) -> str:
    return (
        f"can't write a checkpoint to {folder} on node {socket.gethostname()}: {why}; free some space there, or set "
        "TMPDIR to a larger disk, and run the same command again: the last checkpoint is kept"
    )


def _groups(engine: Any) -> list[dict[str, Any]]:
    groups: list[dict[str, Any]] = engine.optimizer.optimizer.param_groups
    return groups


def _mended(engine: Any, options: list[dict[str, Any]]) -> None:
    """Undo what loading a universal checkpoint does to the optimizer (DeepSpeed 0.19.8, stage3.py).

    It gives every group the options of the first, weight decay for norms included, and all states one step tensor,
    which then counts each group's update as a step of all. It also leaves that tensor on the CPU, where a fused AdamW
    on a GPU can't read it.
    """
    for group, held in zip(_groups(engine), options, strict=True):
        group.update(held)
    for parameter, state in engine.optimizer.optimizer.state.items():
        if torch.is_tensor(state.get("step")):
            state["step"] = state["step"].to(parameter.device, torch.float32, copy=True)


@contextmanager
def _universal(folder: Path) -> Iterator[Path]:
    """A folder with the checkpoint in DeepSpeed's universal form: made once on each node, on its own disk."""
    with scratch() as mine:
        yield made_once(mine, lambda to: _convert(folder / _TAG, to / _TAG))
        # It goes when the ranks that share it have all read it.
        dist.barrier()


def _convert(source: Path, target: Path) -> None:
    """Convert a checkpoint. Raises Stop where that fails."""
    target.parent.mkdir(parents=True, exist_ok=True)
    ranks = len(list(source.glob("*_optim_states.pt")))
    workers = max(1, min(ranks, len(os.sched_getaffinity(0))))
    command = [sys.executable, "-m", "deepspeed.checkpoint.ds_to_universal", "--inject_missing_state"]
    # Every process imports torch: one of each is all that a small checkpoint needs.
    command += ["--num_extract_workers", str(workers), "--num_merge_workers", str(max(1, workers // 2))]
    command += ["--input_folder", str(source), "--output_folder", str(target)]
    with tempfile.TemporaryFile("w+") as said:
        ended = subprocess.run(command, stdout=said, stderr=subprocess.STDOUT, check=False)
        if ended.returncode == 0:
            return
        said.seek(0)
        last = ([line.strip() for line in said if line.strip()] or ["it said nothing"])[-1]
    raise Stop(
        f"can't convert the checkpoint in {source.parent} for another number of ranks, on node {socket.gethostname()} "
        f"in {target}: {last[:200]}; make room there or set TMPDIR, or train on {ranks} ranks as before"
    )
