"""Which windows each optimizer step of a phase takes, on any number of ranks, and at which learning rate."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from random import Random

from pipeline.errors import Stop
from pipeline.training.settings import Phase, TrainSettings


@dataclass(frozen=True, slots=True)
class Step:
    """One optimizer step: the same windows on any number of ranks."""

    number: int
    epoch: int
    windows: tuple[int, ...]
    num_labels: int
    num_tokens: int
    lr: float

    def share(self, *, rank: int, ranks: int) -> tuple[int | None, ...]:
        """A rank's windows, one a micro-step; None fills up where they can't be split evenly."""
        places = ranks * math.ceil(len(self.windows) / ranks)
        padded = [*self.windows, *[None] * (places - len(self.windows))]
        return tuple(padded[rank::ranks])


@dataclass(frozen=True, slots=True)
class Schedule:
    """A phase's steps, the same every time: each epoch's order of windows is drawn from the seed."""

    settings: TrainSettings
    phase: Phase
    seed: int
    num_labels: Sequence[int]
    """Trained tokens of each window."""
    num_tokens: Sequence[int]
    """Tokens of each window that are not padding."""

    def __post_init__(self) -> None:
        if not self.num_labels:
            raise Stop(f"phase {self.phase.name} has no window to train on")

    @property
    def in_an_epoch(self) -> int:
        """Optimizer steps of one pass over all windows; the last may have fewer of them."""
        return math.ceil(len(self.num_labels) / self.settings.batch_windows)

    @property
    def total(self) -> int:
        """Optimizer steps of the phase."""
        whole = self.phase.epochs * self.in_an_epoch
        if self.phase.tokens is None:
            return whole
        trained = accumulate(
            sum(self.num_labels[n] for n in held) for epoch in range(self.phase.epochs) for held in self._batches(epoch)
        )
        return next((number for number, sum_ in enumerate(trained, 1) if sum_ >= self.phase.tokens), whole)

    def steps(self, *, start: int = 0) -> Iterator[Step]:
        """The steps from number `start` on."""
        total = self.total
        for epoch in range(start // self.in_an_epoch, self.phase.epochs):
            for number, held in enumerate(self._batches(epoch), epoch * self.in_an_epoch):
                if start <= number < total:
                    yield Step(
                        number=number,
                        epoch=epoch,
                        windows=held,
                        num_labels=sum(self.num_labels[window] for window in held),
                        num_tokens=sum(self.num_tokens[window] for window in held),
                        lr=self._rate(number, total),
                    )

    def _batches(self, epoch: int) -> list[tuple[int, ...]]:
        order = list(range(len(self.num_labels)))
        Random(f"{self.seed}:{epoch}").shuffle(order)
        size = self.settings.batch_windows
        return [tuple(order[start : start + size]) for start in range(0, len(order), size)]

    def _rate(self, step: int, total: int) -> float:
        peak = self.settings.peak_lr(self.phase)
        share = self.settings.warmup if self.phase.warmup is None else self.phase.warmup
        warmup = math.ceil(share * total)
        if step < warmup:
            return peak * (step + 1) / warmup
        done = (step - warmup) / max(1, total - warmup)
        fall = {"cosine": 0.1 + 0.45 * (1 + math.cos(math.pi * done)), "linear": 1 - done, "constant": 1.0}
        return peak * fall[self.phase.schedule or self.settings.schedule]
