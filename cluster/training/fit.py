"""Run a phase on Ray Train, from its newest checkpoint, on as many ranks as there are within what the recipe allows."""

from typing import Any

import pyarrow.fs as pafs

from cluster.training.kept import Kept
from cluster.training.plan import PhasePlan
from pipeline.errors import Stop


def fit(plan: PhasePlan, *, name: str, folder: str, board: Any) -> None:
    """Run one phase to its end; its checkpoints lie in `folder`/`name` of the store. Raises Stop when it can't."""
    import ray.exceptions
    from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig, TrainingFailedError

    # They load torch, which most jobs do without.
    from cluster.training.elastic import Trainer
    from cluster.training.failures import GiveUp, line
    from cluster.training.worker import work

    settings = plan.settings
    on_gpu = settings.device == "gpu"
    least, most = settings.workers
    kept = Kept(plan.store, f"{folder}/{name}")
    kept.tidy()
    kept.check(plan.identity)
    fs, base = pafs.FileSystem.from_uri(plan.store.root)
    trainer = Trainer(
        work,
        train_loop_config={"plan": plan, "kept": kept, "board": board},
        scaling_config=ScalingConfig(
            num_workers=most if least == most else (least, most),
            use_gpu=on_gpu,
            resources_per_worker={"CPU": settings.cpus_per_worker} | ({"GPU": 1} if on_gpu else {}),
        ),
        run_config=RunConfig(
            name=name,
            storage_path=f"{base.rstrip('/')}/{folder}",
            storage_filesystem=fs,
            # Nodes that are taken back count apart, and without a limit.
            failure_config=FailureConfig(max_failures=settings.max_failures),
            checkpoint_config=CheckpointConfig(num_to_keep=settings.checkpoints_kept),
            callbacks=[GiveUp()],
        ),
    )
    try:
        trainer.fit()
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
