"""Stop after too many skipped steps in a row, with the last batch written where people can look at it."""

import torch.distributed as dist

from cluster.packs import Windows
from cluster.training.guard import Guard
from cluster.training.plan import History, PhasePlan
from pipeline.errors import Stop


def stop_on(history: History, plan: PhasePlan, windows: Windows, guard: Guard) -> None:
    """Raise Stop, on every rank, once more steps in a row were skipped than the recipe allows."""
    most = plan.settings.guard.most_skipped
    last = range(history.done - 1, max(-1, history.done - 2 - most), -1)
    if guard.why is None or len(last) <= most or any(str(number) not in history.skipped for number in last):
        return
    name = f"{plan.export_to.rpartition('/')[0]}/spoiled-step-{history.done - 1}.json"
    if dist.get_rank() == 0:
        plan.store.write_json(name, _batch(history, windows, guard))
    dist.barrier()
    raise Stop(
        f"{most + 1} steps in a row were not applied, the last ({history.done - 1}) as {guard.why}; "
        f"its examples are in {plan.store.address(name)}: look at them, or lower train.lr"
    )


def _batch(history: History, windows: Windows, guard: Guard) -> dict[str, object]:
    held = {number: windows[number] for number in history.windows[-1]}
    return {
        "step": history.done - 1,
        "why": guard.why,
        "loss": history.loss[-1],
        "grad_norm": guard.norm,
        "lr": history.lr[-1],
        "skipped": history.skipped,
        "windows": {
            str(number): {"examples": list(window.examples), "lengths": [int(n) for n in window.lengths]}
            for number, window in held.items()
        },
    }
