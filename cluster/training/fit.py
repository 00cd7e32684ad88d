"""Run a phase on Ray Train, from its newest checkpoint, on as many ranks as there are within what the recipe allows."""

from typing import Any

import pyarrow.fs as pafs

from cluster.training.plan import PhasePlan
from pipeline.errors import Stop


def fit(plan: PhasePlan, *, name: str, folder: str, board: Any) -> None:
    """Run one phase to its end; its checkpoints lie in `folder`/`name` of the store. Raises Stop when it can't."""
    import ray.train
    from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    from cluster.training.worker import work

    settings = plan.settings
    on_gpu = settings.device == "gpu"
    least, most = settings.workers
    fs, base = pafs.FileSystem.from_uri(plan.store.root)
    trainer = TorchTrainer(
        work,
        train_loop_config={"plan": plan, "board": board},
        scaling_config=ScalingConfig(
            num_workers=most if least == most else (least, most),
            use_gpu=on_gpu,
            resources_per_worker={"CPU": settings.cpus_per_worker} | ({"GPU": 1} if on_gpu else {}),
        ),
        run_config=RunConfig(
            name=name,
            storage_path=f"{base}/{folder}",
            storage_filesystem=fs,
            failure_config=FailureConfig(max_failures=settings.max_failures),
            checkpoint_config=CheckpointConfig(num_to_keep=settings.checkpoints_kept),
        ),
    )
    try:
        trainer.fit()
    except ray.train.TrainingFailedError as error:
        raise Stop(f"training phase {plan.phase.name} failed: {_cause(error)}") from error


def _cause(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
