"""Which rank does what: data ranks take windows, and the ranks of one share each of its windows (Ulysses)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
import torch.distributed as dist

from cluster.training.attention import Documents
from cluster.training.zero import Opened
from pipeline.errors import Stop
from pipeline.pack import IGNORED, Window, laid_out
from pipeline.training.schedule import Step
from pipeline.training.settings import TrainSettings

Inputs = tuple[torch.Tensor, torch.Tensor, torch.Tensor, Documents]


@dataclass(frozen=True, slots=True)
class Ranks:
    """This rank's place: data rank `data` of `data_ranks`, and part `part` of the `parts` of its windows."""

    data: int
    data_ranks: int
    part: int
    parts: int
    group: Any
    flash: bool

    @classmethod
    def of(cls, settings: TrainSettings) -> "Ranks":
        """Every rank's place in the process group that is open; ranks of one window are neighbours."""
        rank, world, parts = dist.get_rank(), dist.get_world_size(), settings.sequence_parallel
        group = None
        if parts > 1:
            # Every rank must make every group.
            groups = [dist.new_group(list(range(first, first + parts))) for first in range(0, world, parts)]
            group = groups[rank // parts]
        return cls(rank // parts, world // parts, rank % parts, parts, group, flash(settings))

    def micro_steps(self, batch_windows: int) -> int:
        """Micro-steps of an optimizer step."""
        return math.ceil(batch_windows / self.data_ranks)

    def share(self, step: Step, micro_steps: int) -> tuple[int | None, ...]:
        """This rank's windows of a step, None where it has none; always `micro_steps` long."""
        mine = step.share(rank=self.data, ranks=self.data_ranks)
        return (*mine, *[None] * (micro_steps - len(mine)))

    def inputs(
        self, window: Window | None, model: Opened
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, Documents]:
        """ids, targets and positions of this rank's part of a window, and where all of its documents end.

        A rank without a window still takes part in every collective, on a few tokens that are not trained on.
        """
        pad_id = model.pad_id
        if window is None:
            ids, labels, positions, ends = _nothing(self.parts, pad_id)
        else:
            size = self.parts * math.ceil(len(window.ids) / self.parts)
            ids, labels, positions = (torch.from_numpy(each) for each in laid_out(window, size=size, pad_id=pad_id))
            ends = _ends(window, size)
        # The target of a position is the next one's label.
        targets = torch.cat([labels[1:], torch.tensor([IGNORED])])
        length = len(ids) // self.parts
        mine = slice(self.part * length, (self.part + 1) * length)
        tensors = tuple(each[mine].to(model.device) for each in (ids, targets, positions))
        # Once for all layers.
        starts = torch.tensor((0, *ends), dtype=torch.int32, device=model.device) if self.flash else None
        return (*tensors, Documents(ends, self.group, starts))

    def told(self, windows: Sequence[int], most: int, device: torch.device) -> list[int]:
        """The windows that all ranks took, each once; every rank calls it with at most `most` of its own."""
        mine = torch.full((most,), -1, dtype=torch.int64, device=device)
        if self.part == 0:
            mine[: len(windows)] = torch.tensor(windows, dtype=torch.int64)
        all_ = torch.empty(most * dist.get_world_size(), dtype=torch.int64, device=device)
        dist.all_gather_into_tensor(all_, mine)
        return sorted(number for number in all_.tolist() if number >= 0)

    def most(self, value: float, device: torch.device) -> float:
        """The largest of all ranks' values."""
        held = torch.tensor(value, dtype=torch.float64, device=device)
        dist.all_reduce(held, op=dist.ReduceOp.MAX)
        return float(held)


def flash(settings: TrainSettings) -> bool:
    """Whether flash_attn's kernel is taken. Raises Stop where it is asked for and can't be had."""
    able = settings.device == "gpu" and settings.dtype == "bfloat16" and find_spec("flash_attn") is not None
    if settings.attention == "flash_attention_2" and not able:
        raise Stop("train.attention=flash_attention_2 needs flash_attn installed, a GPU and bfloat16: set it to auto")
    return able and settings.attention != "sdpa"


def _ends(window: Window, size: int) -> tuple[int, ...]:
    ends, at = [], 0
    for length in window.lengths:
        at += int(length)
        ends.append(at)
    return (*ends, size) if at < size else tuple(ends)


def _nothing(parts: int, pad_id: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, tuple[int, ...]]:
    size = 2 * parts
    ids = torch.full((size,), pad_id)
    return ids, torch.full((size,), IGNORED), torch.arange(size), (size,)
