"""Steps that would do harm are not applied: what is not finite, and losses or gradients far above the usual."""

import math
from collections.abc import Sequence
from itertools import islice
from statistics import median
from typing import Any

from cluster.training.plan import History
from pipeline.training.settings import GuardSettings


class Guard:
    """Decides at the end of a step's backward passes whether its update is made; the same on every rank."""

    def __init__(self, engine: Any, settings: GuardSettings, *, clip: float) -> None:
        self._settings, self._clip = settings, clip
        self._norms_of = engine.optimizer._get_norm_groups
        # DeepSpeed asks for the norms once, before it clips and updates; a norm that is not finite makes it drop the
        # gradients and leave weights and optimizer as they are. This is the one place where a step can be stopped.
        engine.optimizer._get_norm_groups = self._norms
        self._before: Sequence[float] = ()
        self._losses: Sequence[float] = ()
        self._loss = 0.0
        self.norm = 0.0
        """The gradient's norm in the last step, before clipping."""
        self.why: str | None = None
        """Why the last step was not applied; None if it was."""

    def expects(self, loss: float, history: History) -> None:
        """Tell the step's loss, of all ranks, before DeepSpeed is asked to apply it."""
        newest_first = (n for n in range(history.done - 1, -1, -1) if str(n) not in history.skipped)
        applied = list(islice(newest_first, self._settings.median_of))
        self._losses = [history.loss[n] for n in applied]
        self._before = [history.grad_norm[n] for n in applied]
        self._loss = loss

    def _norms(self) -> list[Any]:
        groups: list[Any] = self._norms_of()
        norms = [float(group) for group in groups]
        # DeepSpeed masks what is not finite as -1.
        self.norm = math.sqrt(sum(norm**2 for norm in norms)) if all(norm >= 0 for norm in norms) else math.nan
        self.why = self._judged()
        return groups if self.why is None else [math.inf for _ in groups]

    def _judged(self) -> str | None:
        if not math.isfinite(self._loss):
            return f"the loss is {self._loss}"
        if not math.isfinite(self.norm):
            return "the gradient is not finite"
        if len(self._before) < self._settings.median_of:
            return None
        usual = median(self._losses)
        # In nats, not in parts: a loss that is almost 0 may well be several times the usual one.
        if self._loss > usual + self._settings.loss_spike:
            return f"the loss {self._loss:.4g} is {self._loss - usual:.4g} above the median {usual:.4g}"
        usual = median(self._before)
        # What is below the clip is not even clipped.
        if self.norm > max(self._clip, self._settings.spike * usual):
            return f"the gradient norm {self.norm:.4g} is {self.norm / usual:.1f} times the median {usual:.4g}"
        return None
