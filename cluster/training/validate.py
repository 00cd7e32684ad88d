"""The loss over windows that are held back from training."""

import torch
import torch.distributed as dist

from cluster.packs import Windows
from cluster.training.plan import History, PhasePlan
from cluster.training.ranks import Ranks
from cluster.training.zero import Opened


def validated(model: Opened, ranks: Ranks, plan: PhasePlan, history: History) -> None:
    """Note the mean loss over all held-back windows; every rank calls it, and it changes nothing else."""
    if plan.validation is None:
        return
    windows = Windows(plan.store, plan.validation)
    count = windows.meta.windows
    summed = torch.zeros((), dtype=torch.float32, device=model.device)
    model.engine.eval()
    with torch.no_grad():
        for first in range(0, count, ranks.data_ranks):
            number = first + ranks.data
            summed += model.engine(*ranks.inputs(windows[number] if number < count else None, model))
    model.engine.train()
    dist.all_reduce(summed)
    history.validation[str(history.done)] = float(summed) / max(1, sum(windows.meta.num_labels))
