"""A training loop inside Ray Train: where checkpoints go, how a lost node is foretold, and how figures come out."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray.train
import torch
import torch.distributed as dist
from ray.train import Checkpoint
from ray.train.v2.api.report_config import CheckpointUploadMode

from cluster.session import cores
from cluster.training.finish import finish
from cluster.training.loop import train
from cluster.training.plan import History, PhasePlan


def work(config: dict[str, Any]) -> None:
    """Ray Train's worker function; config holds `plan` and `board`."""
    plan: PhasePlan = config["plan"]
    if plan.settings.device == "cpu":
        torch.set_num_threads(max(1, cores() // ray.train.get_context().get_local_world_size()))
    trained = train(plan, OnRay(config["board"]))
    finish(trained, plan)
    # Nobody leaves before rank 0 has written the model: Ray would take the group down around it.
    dist.barrier()


class OnRay:
    """What Ray Train does for a loop."""

    def __init__(self, board: Any) -> None:
        self._board = board

    @contextmanager
    def last(self) -> Iterator[Path | None]:
        """The newest checkpoint that Ray has noted, on this node."""
        checkpoint = ray.train.get_checkpoint()
        if checkpoint is None:
            yield None
            return
        with checkpoint.as_directory() as folder:
            yield Path(folder)

    def keep(self, write: Callable[[Path], None], history: History) -> None:
        """Write to this node's disk, and let Ray bring it to storage while training goes on."""
        folder = Path(tempfile.mkdtemp(prefix="longthought-checkpoint-"))
        write(folder)
        ray.train.report(
            {"step": history.done, "loss": history.loss[-1]},
            checkpoint=Checkpoint.from_directory(str(folder)),
            checkpoint_upload_mode=CheckpointUploadMode.ASYNC,
            delete_local_checkpoint_after_upload=True,
        )

    def leaving(self) -> bool:
        """Whether Ray was told that a node of the group will be taken away."""
        return ray.train.get_preemption_info() is not None

    def told(self, plan: PhasePlan, history: History, total: int) -> None:
        """Show the step on the driver's board."""
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
