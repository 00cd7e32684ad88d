"""Train the student with Ray Train and DeepSpeed ZeRO-3: one phase after another, each from packed windows.

A phase resumes from its last checkpoint after a lost worker or a killed command; windows are read by number, so it goes
on with exactly the next one. The loss of a step is the mean over the trained tokens of all ranks and micro-steps.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar, Literal

from pydantic import Field

from pipeline.settings import Settings
from pipeline.store import Store


class Phase(Settings):
    """One pass of training, on its own part of the data set."""

    name: str
    """What it is called in summaries and folders."""
    generations: tuple[str, ...]
    """The generations whose chosen traces are trained on."""
    epochs: int = Field(default=1, gt=0)
    """Passes over its windows."""
    lr: float | None = Field(default=None, gt=0)
    """Peak learning rate; none takes train.lr."""


class TrainSettings(Settings):
    """How the student is trained."""

    operational: ClassVar[frozenset[str]] = frozenset(
        {"device", "workers", "cpus_per_worker", "checkpoint_steps", "checkpoints_kept", "max_failures"}
        | {"loss_chunk", "gradient_checkpointing", "attention", "tokens_per_s", "usd_per_worker_hour"}
    )

    phases: tuple[Phase, ...] = Field(min_length=1)
    """The phases, in order; each starts from the model of the one before."""
    lr: float = Field(default=1e-5, gt=0)
    """Peak learning rate."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """How the rate falls after warm-up: to 10 % of the peak, to 0, or not."""
    warmup: float = Field(default=0.05, ge=0, lt=1)
    """The share of the steps over which the rate rises."""
    weight_decay: float = Field(default=0.0, ge=0)
    """AdamW's, on matrices only."""
    clip: float = Field(default=1.0, gt=0)
    """The most the gradient's norm may be."""
    window: int = Field(default=32768, gt=1)
    """Tokens of a packed window, one of which is a rank's micro-batch; a longer example is left out."""
    batch_windows: int = Field(default=8, gt=0)
    """Windows of one optimizer step, over all workers."""
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    """The type of weights and activations; the optimizer's copy is float32."""
    device: Literal["cpu", "gpu"] = "gpu"
    """What it runs on."""
    workers: int = Field(default=8, gt=0)
    """Ranks: one GPU each, or one process each on CPUs."""
    cpus_per_worker: float = Field(default=4.0, gt=0)
    """Logical CPUs of a worker in Ray."""
    attention: str = "sdpa"
    """transformers' attention: sdpa, or flash_attention_2 where it is installed."""
    gradient_checkpointing: bool = True
    """Recompute activations in the backward pass: less memory, a third more work."""
    loss_chunk: int = Field(default=4096, gt=0)
    """Positions whose logits exist at once."""
    checkpoint_steps: int = Field(default=50, gt=0)
    """Optimizer steps between checkpoints."""
    checkpoints_kept: int = Field(default=2, gt=0)
    """Checkpoints kept."""
    max_failures: int = Field(default=3, ge=0)
    """Lost workers that are replaced before the phase gives up."""
    tokens_per_s: float | None = Field(default=None, gt=0)
    """What all workers together are expected to do; --dry-run estimates hours from it."""
    usd_per_worker_hour: float = Field(default=0.0, ge=0)
    """The price of a worker's GPU for an hour; --dry-run estimates cost from it."""


@dataclass(frozen=True, slots=True)
class Step:
    """One optimizer step of one rank: its windows (None pads the last step) and the trained tokens of all ranks."""

    number: int
    windows: tuple[int | None, ...]
    num_labels: int
    num_tokens: int
    lr: float


@dataclass(frozen=True, slots=True)
class PhasePlan:
    """All that a phase's workers must know; plain values that travel to them."""

    store: Store
    model: str
    packs: str
    export_to: str
    settings: TrainSettings
    phase: Phase
    seed: int

    @property
    def peak_lr(self) -> float:
        """The phase's learning rate after warm-up."""
        return self.phase.lr or self.settings.lr

    @property
    def accumulation(self) -> int:
        """Micro-steps of a rank in one optimizer step."""
        return math.ceil(self.settings.batch_windows / self.settings.workers)


def num_steps(plan: PhasePlan, *, windows: int) -> int:
    """Optimizer steps of a phase over so many windows."""
    return plan.phase.epochs * math.ceil(windows / plan.settings.batch_windows)


def steps(plan: PhasePlan, *, num_labels: tuple[int, ...], num_tokens: int, rank: int) -> Iterator[Step]:
    """A rank's steps, the same every time: each epoch's order is drawn from the seed."""
    windows, batch = len(num_labels), plan.settings.batch_windows
    total = num_steps(plan, windows=windows)
    places = plan.settings.workers * plan.accumulation
    number = 0
    for epoch in range(plan.phase.epochs):
        order = list(range(windows))
        Random(f"{plan.seed}:{epoch}").shuffle(order)
        for start in range(0, windows, batch):
            held = order[start : start + batch]
            padded = [*held, *[None] * (places - len(held))]
            yield Step(
                number=number,
                windows=tuple(padded[rank :: plan.settings.workers]),
                num_labels=sum(num_labels[window] for window in held),
                num_tokens=round(num_tokens * len(held) / windows),
                lr=learning_rate(plan, step=number, of=total),
            )
            number += 1


def learning_rate(plan: PhasePlan, *, step: int, of: int) -> float:
    """The rate of a step: a linear rise over the warm-up, then the schedule's fall."""
    warmup = math.ceil(plan.settings.warmup * of)
    if step < warmup:
        return plan.peak_lr * (step + 1) / warmup
    done = (step - warmup) / max(1, of - warmup)
    fall = {"cosine": 0.1 + 0.45 * (1 + math.cos(math.pi * done)), "linear": 1 - done, "constant": 1.0}
    return plan.peak_lr * fall[plan.settings.schedule]


def fit(plan: PhasePlan, *, name: str, storage: str, board: Any) -> None:
    """Run one phase to its end, from its last checkpoint if there is one. Raises Stop when it can't be finished."""
    import ray.train
    from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    from cluster.worker import work
    from pipeline.errors import Stop

    settings = plan.settings
    resources: dict[str, float] = {"CPU": settings.cpus_per_worker}
    if settings.device == "gpu":
        resources["GPU"] = 1
    trainer = TorchTrainer(
        work,
        train_loop_config={"plan": plan, "board": board},
        scaling_config=ScalingConfig(
            num_workers=settings.workers, use_gpu=settings.device == "gpu", resources_per_worker=resources
        ),
        run_config=RunConfig(
            name=name,
            storage_path=storage,
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


def now() -> float:
    """Seconds of a clock that only goes forward."""
    return time.monotonic()
