"""Run a phase on Ray Train, from its newest checkpoint, on as many ranks as there are within what the recipe allows."""

from typing import Any

import pyarrow.fs as pafs

from cluster.placement import on
from cluster.training.kept import Kept
from cluster.training.plan import PhasePlan
from pipeline.errors import Stop


def fit(plan: PhasePlan, *, name: str, folder: str, board: Any, inbox: Any) -> None:
    """Run one phase to its end; its checkpoints lie in `folder`/`name` of the store. Raises Stop when it can't."""
    import ray.exceptions
    from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig, TrainingFailedError

    # They load torch, which most jobs do without.
    from cluster.training.elastic import Trainer
    from cluster.training.failures import GiveUp, line
    from cluster.training.worker import LEFT, work

    kept = Kept(plan.store, f"{folder}/{name}")
    fs, base = pafs.FileSystem.from_uri(plan.store.root)
    on_gpu, (least, most) = plan.settings.device == "gpu", plan.settings.workers
    scaling = ScalingConfig(
        num_workers=most if least == most else (least, most),
        use_gpu=on_gpu,
        resources_per_worker={"CPU": plan.settings.cpus_per_worker} | ({"GPU": 1} if on_gpu else {}),
        **on("training"),
    )
    run = RunConfig(
        name=name,
        storage_path=f"{base.rstrip('/')}/{folder}",
        storage_filesystem=fs,
        failure_config=FailureConfig(max_failures=plan.settings.max_failures),
        checkpoint_config=CheckpointConfig(num_to_keep=plan.settings.checkpoints_kept),
        callbacks=[GiveUp()],
    )
    told = {"plan": plan, "kept": kept, "board": board, "inbox": inbox}
    try:
        left = True
        while left:
            kept.tidy()
            kept.check(plan.identity)
            trainer = Trainer(work, train_loop_config=told, scaling_config=scaling, run_config=run)
            # A group that gave way to a node's loss did not fail: it counts for nothing, and the next goes on.
            left = trainer.fit().return_value == LEFT
    except TrainingFailedError as error:
        raise Stop(f"training phase {plan.phase.name} failed: {line(error)}") from error
    except ray.exceptions.RayError as error:
        # The controller itself; it runs beside this process.
        raise Stop(
            f"training phase {plan.phase.name} failed: Ray's controller died: {error}".splitlines()[0]
        ) from error


def forget(plan: PhasePlan, *, name: str, folder: str) -> None:
    """Delete the checkpoints of a phase whose model is exported; they are six times its size."""
    Kept(plan.store, f"{folder}/{name}").delete()
