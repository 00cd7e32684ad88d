"""A training loop inside Ray Train: where checkpoints go, how a lost node is foretold, and how figures come out."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs
import ray.train
import torch
import torch.distributed as dist
from ray.train import Checkpoint, CheckpointConsistencyMode, CheckpointUploadMode
from ray.train.collective import barrier

from cluster.session import cores
from cluster.training.agree import agree
from cluster.training.failures import unwritten
from cluster.training.finish import exported, finish
from cluster.training.kept import Kept
from cluster.training.loop import train
from cluster.training.nodewise import made_once
from cluster.training.plan import History, PhasePlan
from cluster.training.scratch import scratch
from cluster.training.watch import Watch
from cluster.training.zero import Opened

_ASK_EVERY_S = 2.0
_PATIENCE_S = (2.0, 10.0, 30.0)


LEFT = "left"


def work(config: dict[str, Any]) -> str | None:
    """Ray Train's worker function; config holds `plan`, `kept`, `board` and `inbox`.

    LEFT when a node of the group is about to be taken away: a checkpoint is kept, and a new group is to go on from it.
    """
    plan: PhasePlan = config["plan"]
    kept: Kept = config["kept"]
    if plan.settings.device == "cpu":
        torch.set_num_threads(max(1, cores() // ray.train.get_context().get_local_world_size()))
    else:
        torch.cuda.set_device(ray.train.torch.get_device())
    agree(plan)
    if dist.get_rank() == 0:
        kept.sweep()
    watch = Watch(config["inbox"].tell.remote, partial(exported, plan))
    with scratch() as folder:
        try:
            trained = train(plan, OnRay(config["board"], watch, folder))
        except _Left:
            return LEFT
        # The last checkpoint is read from this folder as long as it is on its way.
        _settled()
    finish(trained, plan)
    # Nobody leaves before rank 0 has written the model: Ray would take the group down around it. Ray's barrier has no
    # time limit, and a large model takes long to write.
    barrier()
    return None


class _Left(Exception):
    """A checkpoint is in the store; the group gives way to one without the nodes that are taken away."""


class OnRay:
    """What Ray Train does for a loop."""

    def __init__(self, board: Any, watch: Watch, folder: Path) -> None:
        self._board, self._watch, self._folder = board, watch, folder
        self._asked = time.monotonic()
        self._is_leaving = False

    @contextmanager
    def last(self) -> Iterator[Path | None]:
        """The newest checkpoint that Ray has noted, on this node."""
        checkpoint = ray.train.get_checkpoint()
        if checkpoint is None:
            yield None
            return
        if isinstance(checkpoint.filesystem, pafs.LocalFileSystem):
            yield Path(checkpoint.path)
            return
        with scratch() as mine:
            yield made_once(mine, lambda to: _fetch(checkpoint, to))
            # It goes when the ranks that share it have all read it.
            dist.barrier()

    def keep(self, write: Callable[[Path], None], history: History, total: int) -> None:
        """Write to this node's disk, and let Ray bring it to storage while training goes on.

        There is one on its way at a time: the next waits until all ranks' parts of the last are in storage and noted.
        """
        _settled()
        folder = self._folder / f"step-{history.done}"
        folder.mkdir()
        write(folder)
        ray.train.report(
            {"step": history.done, "loss": history.loss[-1], "is_last": history.done == total},
            checkpoint=Checkpoint.from_directory(str(folder)),
            checkpoint_upload_mode=CheckpointUploadMode.ASYNC,
            checkpoint_upload_fn=_upload,
            delete_local_checkpoint_after_upload=True,
        )
        self._watch.saved(history)
        if self._is_leaving:
            _settled()
            raise _Left

    def leaving(self) -> bool:
        """Whether Ray was told that a node of the group will be taken away.

        Ray's answer is a round over all ranks through an actor, so it is asked for every two seconds by rank 0's clock.
        """
        due = torch.tensor([time.monotonic() - self._asked > _ASK_EVERY_S], device=_device())
        dist.broadcast(due, src=0)
        if bool(due):
            self._asked = time.monotonic()
            self._is_leaving = ray.train.get_preemption_info() is not None
        return self._is_leaving

    def begun(self, model: Opened, plan: PhasePlan, history: History, total: int) -> None:
        """Tell the driver what is trained, and what was done before."""
        self._watch.begun(model, plan, history, total)

    def told(self, plan: PhasePlan, history: History, total: int) -> None:
        """Tell the driver of the step, and show it on its board."""
        self._watch.told(plan, history, total)
        if self._board is None or dist.get_rank() != 0:
            return
        last = history.seconds[-20:]
        self._board.set.remote(
            {
                "phase": plan.phase.name,
                "step": history.done,
                "steps": total,
                "loss": history.loss[-1],
                "tokens_per_s": history.tokens[-1] / history.seconds[-1],
                "seconds_left": (total - history.done) * sum(last) / len(last),
            }
        )


def _fetch(checkpoint: Checkpoint, to: Path) -> None:
    try:
        to.mkdir()
        pafs.copy_files(checkpoint.path, str(to), source_filesystem=checkpoint.filesystem)
    except OSError as error:
        why = unwritten(str(to), error)
        if why is not None:
            raise why from error
        raise


def _settled() -> None:
    ray.train.get_all_reported_checkpoints(consistency_mode=CheckpointConsistencyMode.COMMITTED)


def _device() -> torch.device:
    return torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else torch.device("cpu")


def _upload(checkpoint: Checkpoint, name: str) -> Checkpoint:
    """Copy this rank's files into the checkpoint's folder in the store; a store that hiccups is asked again."""
    storage = ray.train.get_context().get_storage()
    fs, to = storage.storage_filesystem, f"{storage.experiment_fs_path}/{name}"
    for patience in (*_PATIENCE_S, None):
        try:
            fs.create_dir(to, recursive=True)
            # Threads and uploads to S3 do not go together (arrow #32372).
            threads = not isinstance(fs, pafs.S3FileSystem)
            pafs.copy_files(checkpoint.path, to, destination_filesystem=fs, use_threads=threads)
            return Checkpoint(to, fs)
        except OSError as error:
            why = unwritten(to, error)
            if why is not None:
                raise why from error
            if patience is None:
                raise
            time.sleep(patience)
    raise AssertionError("the last try returns or raises")
