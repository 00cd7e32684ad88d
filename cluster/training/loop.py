"""What one rank does: step through its windows, save, go on, export. Over torch.distributed alone; Ray is outside.

The loss of a step is the mean over the trained tokens of all ranks and micro-steps; which windows a step takes does not
depend on how many ranks there are. So any number of ranks makes the same curve, up to rounding.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
import torch.distributed as dist

from cluster.packs import Ahead, Windows
from cluster.training.checkpoints import found, restored, written
from cluster.training.guard import Guard
from cluster.training.plan import History, PhasePlan
from cluster.training.ranks import Ranks
from cluster.training.spoiled import stop_on
from cluster.training.validate import validated
from cluster.training.zero import Opened, opened
from pipeline.training.schedule import Schedule, Step


class Outside(Protocol):
    """What a loop needs of what it runs in: Ray Train for a run, nothing but a folder for torchrun."""

    def last(self) -> AbstractContextManager[Path | None]:
        """The newest checkpoint's files on this node; None if there is none."""
        ...

    def keep(self, write: Callable[[Path], None], history: History, total: int) -> None:
        """Keep what `write` puts into a folder as the newest checkpoint of `total` steps; every rank calls it."""
        ...

    def leaving(self) -> bool:
        """Whether a node of the group is about to be taken away; every rank gets the same answer."""
        ...

    def begun(self, model: Opened, plan: PhasePlan, history: History, total: int) -> None:
        """The model is open and at its newest checkpoint; called by every rank before its first step."""
        ...

    def told(self, plan: PhasePlan, history: History, total: int) -> None:
        """A step is done; called by every rank."""
        ...


@dataclass(frozen=True, slots=True)
class Trained:
    """A phase at its end, before anything is exported."""

    opened: Opened
    ranks: Ranks
    history: History


def train(plan: PhasePlan, outside: Outside) -> Trained:
    """Train a phase to its end, from its newest checkpoint if there is one. Raises Stop where that can't be."""
    windows = Windows(plan.store, plan.packs)
    schedule = plan.schedule(num_labels=windows.meta.num_labels, num_tokens=windows.meta.num_tokens)
    ranks = Ranks.of(plan.settings)
    accumulation = ranks.micro_steps(plan.settings.batch_windows)
    with outside.last() as folder:
        checkpoint = found(folder, plan)
        model = opened(plan, accumulation=accumulation, universal=checkpoint is not None and checkpoint.is_foreign)
        history = restored(model.engine, checkpoint)
    history.ranks[str(history.done)] = dist.get_world_size()
    guard = Guard(model.engine, plan.settings.guard, clip=plan.settings.clip)
    total, saved = schedule.total, history.done
    outside.begun(model, plan, history, total)
    with Ahead(windows, _mine(schedule, ranks, accumulation, start=saved)) as ahead:
        for step in schedule.steps(start=history.done):
            _step(model, guard, step, ranks, ahead, history, accumulation)
            stop_on(history, plan, windows, guard)
            is_last = step.number + 1 == total
            if is_last or _is_due(step, plan.settings.watch.validate_steps):
                validated(model, ranks, plan, history)
            outside.told(plan, history, total)
            leaving = outside.leaving() and saved < history.done
            # After the last one too, where there were any: an export that fails is done again, the steps are not.
            is_due = saved > 0 if is_last else _is_due(step, plan.settings.checkpoint_steps)
            if is_due or leaving:
                outside.keep(lambda to: written(model.engine, history, plan, to), history, total)
                saved = history.done
    return Trained(model, ranks, history)


def _mine(schedule: Schedule, ranks: Ranks, micro_steps: int, *, start: int) -> Iterator[int | None]:
    for step in schedule.steps(start=start):
        yield from ranks.share(step, micro_steps)


def _is_due(step: Step, every: int | None) -> bool:
    return every is not None and (step.number + 1) % every == 0


def _step(
    model: Opened, guard: Guard, step: Step, ranks: Ranks, ahead: Ahead, history: History, accumulation: int
) -> None:
    started, waited = time.monotonic(), ahead.waited
    engine, taken = model.engine, []
    # What is drawn in a step, such as dropout, is the same when the step is made again on as many ranks.
    torch.manual_seed(step.number * dist.get_world_size() + dist.get_rank())
    for group in engine.optimizer.param_groups:
        group["lr"] = step.lr
    summed = torch.zeros((), dtype=torch.float32, device=model.device)
    # DeepSpeed takes the mean over ranks and micro-steps; what is wanted is the mean over trained tokens.
    scale = dist.get_world_size() * accumulation / max(1, step.num_labels)
    for micro_step in range(accumulation):
        loss = engine(*ranks.inputs(next(ahead), model))
        taken.append(ahead.number)
        summed += loss.detach()
        engine.backward(loss * scale)
        if micro_step + 1 == accumulation:
            dist.all_reduce(summed)
            guard.expects(float(summed) / max(1, step.num_labels), history)
        engine.step()
    _note(history, step, guard, float(summed) / max(1, step.num_labels))
    history.windows.append(ranks.told([number for number in taken if number is not None], accumulation, model.device))
    history.waited.append(ranks.most(ahead.waited - waited, model.device))
    history.seconds.append(time.monotonic() - started)


def _note(history: History, step: Step, guard: Guard, loss: float) -> None:
    if guard.why is not None:
        history.skipped[str(step.number)] = guard.why
    history.loss.append(loss)
    history.lr.append(step.lr)
    history.grad_norm.append(guard.norm)
    history.tokens.append(step.num_tokens)
    history.trained.append(step.num_labels)
