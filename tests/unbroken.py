"""The same phase on one rank that nobody hits, over torch.distributed alone: what a training that is hit must equal."""

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any


class _Alone:
    """Nothing to go on from, nothing to keep."""

    @contextlib.contextmanager
    def last(self) -> Iterator[None]:
        yield None

    def keep(self, write: Any, history: Any) -> None:
        pass

    def leaving(self) -> bool:
        return False

    def told(self, plan: Any, history: Any, total: int) -> None:
        pass


def main(recipe: str, run: str, to: str) -> None:
    """Train the recipe's only phase over the packs in a run's folder, and write history.json and the weights."""
    os.environ |= {"DS_ACCELERATOR": "cpu", "RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    import deepspeed
    import torch
    import torch.distributed as dist

    from cluster.training.loop import train
    from cluster.training.plan import PhasePlan
    from jobs.recipe_file import load
    from pipeline.store import Store

    read = load(recipe, ["train.workers=1"])
    phase = read.train.phases[0]
    plan = PhasePlan(Store(run), read.student.model, "", f"packs/{phase.name}", None, "", read.train, phase, read.seed)
    with tempfile.TemporaryDirectory() as meeting:
        dist.init_process_group("gloo", init_method=f"file://{meeting}/all", rank=0, world_size=1)
        trained = train(plan, _Alone())
        named = dict(trained.opened.engine.module.model.named_parameters())
        with deepspeed.zero.GatheredParameters(list(named.values())):
            weights = {name: parameter.detach().clone() for name, parameter in named.items()}
    Path(to).mkdir(parents=True)
    Path(to, "history.json").write_text(json.dumps(asdict(trained.history)))
    torch.save(weights, Path(to, "weights.pt"))


if __name__ == "__main__":
    main(*sys.argv[1:])
