"""What the ranks of a phase tell its driver while they train: plain values, without torch."""

from dataclasses import dataclass

from cluster.training.plan import History, PhasePlan
from pipeline.training.flops import Work

MARK = "exported.json"
"""The file that says that a checkpoint's model is there to be measured, whole."""


def evaluations_folder(plan: PhasePlan) -> str:
    """Where the checkpoints of a phase lie that are measured while it goes on."""
    return f"{plan.export_to.rpartition('/')[0]}/evaluations"


def step_folder(plan: PhasePlan, step: int) -> str:
    """Where the model of a step lies that is measured, its traces and its scores."""
    return f"{evaluations_folder(plan)}/step-{step:08d}"


@dataclass(frozen=True, slots=True)
class Memory:
    """What a rank holds, GiB; on a machine without GPUs nothing is said of one."""

    host: float
    host_peak: float
    gpu: float | None = None
    gpu_peak: float | None = None


@dataclass(frozen=True, slots=True)
class Begun:
    """A group of ranks is about to make its first step."""

    history: History
    total: int
    """Steps of the phase."""
    ranks: int
    work: Work
    peak_flops: float | None
    """What the ranks' GPUs can do together, FLOP/s; None where that is not known."""
    time: float


@dataclass(frozen=True, slots=True)
class Stepped:
    """A step is done; `step` counts from 1."""

    step: int
    loss: float
    lr: float
    grad_norm: float
    seconds: float
    waited: float
    tokens: int
    trained: int
    windows: tuple[int, ...]
    skipped: str | None
    validation: float | None
    memory: Memory | None
    time: float | None


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint of so many steps is handed over to be kept."""

    step: int
    time: float


@dataclass(frozen=True, slots=True)
class Exported:
    """The model of so many steps was written to be measured, or why it could not be."""

    step: int
    seconds: float
    failed: str | None
    time: float


@dataclass(frozen=True, slots=True)
class Held:
    """What a rank other than the first holds."""

    rank: int
    memory: Memory


Told = Begun | Stepped | Saved | Exported | Held


def stepped(history: History, number: int, *, memory: Memory | None = None, time: float | None = None) -> Stepped:
    """Step `number` of a history, counted from 0."""
    return Stepped(
        step=number + 1,
        loss=history.loss[number],
        lr=history.lr[number],
        grad_norm=history.grad_norm[number],
        seconds=history.seconds[number],
        waited=history.waited[number],
        tokens=history.tokens[number],
        trained=history.trained[number],
        windows=tuple(history.windows[number]),
        skipped=history.skipped.get(str(number)),
        validation=history.validation.get(str(number + 1)),
        memory=memory,
        time=time,
    )
