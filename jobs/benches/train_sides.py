"""The sides of the training benchmarks, each a program: python -m jobs.benches.train_sides SIDE SETUP.json STEPS

ours     our loop over packs, as a rank of torchrun's
ray      the same through Ray Train, as jobs.train runs it
beside   ours on two ranks under torchrun, beside a Ray that has as many actors as Ray Train's and does nothing
bfd, wrapped   TRL's SFTTrainer with that packing, on the examples of the same packs

Each appends to the file STEPS at the end of a step: time.monotonic(), the step's real tokens, its loss, the most memory
so far in bytes, and the FLOPs that the model needs for it (0 where that is not known).
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cluster.session import cores
from cluster.training.plan import History, PhasePlan
from pipeline.pack import IGNORED
from pipeline.store import Store
from pipeline.training.flops import Work
from pipeline.training.settings import TrainSettings

BETAS, EPS = (0.9, 0.95), 1e-8
TORCHRUN = ("torch.distributed.run", "--standalone")
_ACTORS_OF_A_TRAINING = 8
"""Besides the ranks: Ray Train's six (2.60: controller, coordinator, barrier, two watchers, data sets) and our two."""


def plan_of(setup: dict[str, Any]) -> PhasePlan:
    """The plan of a setup: `store`, `model`, and `train`, the settings."""
    settings = TrainSettings.model_validate(setup["train"])
    return PhasePlan(
        store=Store(setup["store"]),
        model=setup["model"],
        identity="bench",
        packs="packs",
        validation=None,
        export_to="export",
        settings=settings,
        phase=settings.phases[0],
        seed=1,
    )


Noted = Callable[..., None]
"""Notes a step's tokens, its loss, and the FLOPs that the model needs for it where they are known."""


class Alone:
    """A loop with nothing outside it but a file of its steps."""

    def __init__(self, noted: Noted) -> None:
        self._noted = noted
        self._work: Work | None = None

    @contextmanager
    def last(self) -> Iterator[Path | None]:
        """There is no checkpoint."""
        yield None

    def keep(self, write: Callable[[Path], None], history: History, total: int) -> None:
        """Nothing is kept."""

    def leaving(self) -> bool:
        """No node is taken away."""
        return False

    def begun(self, model: Any, plan: PhasePlan, history: History, total: int) -> None:
        """Find out how much arithmetic a step takes."""
        from cluster.packs import Windows
        from cluster.training.flops import work_of

        self._work, self._windows = work_of(model.engine.module.model), Windows(plan.store, plan.packs)

    def told(self, plan: PhasePlan, history: History, total: int) -> None:
        """Note the step."""
        assert self._work is not None
        held = [self._windows[number] for number in history.windows[-1]]
        flops = sum(self._work.of(window.lengths, window.num_labels) for window in held)
        self._noted(history.tokens[-1], history.loss[-1], flops)


def _ours(setup: dict[str, Any], noted: Noted) -> None:
    import torch
    import torch.distributed as dist

    from cluster.training.loop import train

    plan = plan_of(setup)
    dist.init_process_group("gloo" if plan.settings.device == "cpu" else "nccl")
    torch.set_num_threads(max(1, cores() // dist.get_world_size()))
    train(plan, Alone(noted if dist.get_rank() == 0 else lambda *_: None))


def _on_ray(setup: dict[str, Any], noted: Noted) -> None:
    import ray

    from cluster.packs import read_meta
    from cluster.session import ClusterSettings, session
    from cluster.training.fit import fit
    from cluster.training.recorder import recorded

    plan = plan_of(setup)
    meta = read_meta(plan.store, plan.packs)
    schedule = plan.schedule(num_labels=meta.num_labels, num_tokens=meta.num_tokens)

    @ray.remote(num_cpus=0)
    class Board:
        """Notes the steps that the loop tells."""

        def __init__(self) -> None:
            self._steps = schedule.steps()

        def set(self, figures: dict[str, Any]) -> None:
            noted(next(self._steps).num_tokens, figures.get("loss", 0.0))

    cluster = ClusterSettings(local_cpus=2 * plan.settings.workers[1], dashboard=False)
    with session(cluster), recorded(plan, run="bench") as (inbox, _):
        fit(plan, name="bench", folder="checkpoints", board=Board.remote(), inbox=inbox)


def _beside(setup: str, steps: str) -> None:
    import ray

    from cluster.session import ClusterSettings, session

    @ray.remote(num_cpus=0)
    class Idle:
        """Does nothing, as most actors around a training do most of the time."""

        def there(self) -> None:
            """Answer."""

    with session(ClusterSettings(local_cpus=4, dashboard=False)):
        idle = [Idle.remote() for _ in range(_ACTORS_OF_A_TRAINING)]
        ray.get([actor.there.remote() for actor in idle])
        ours = [*TORCHRUN, "--nproc-per-node=2", "-m", "jobs.benches.train_sides", "ours", setup, steps]
        subprocess.run([sys.executable, "-m", *ours], check=True)


def _trl(strategy: str, setup: dict[str, Any], noted: Noted) -> None:
    import torch
    from transformers import AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    from cluster.models import local_path

    plan = plan_of(setup)
    settings, path = plan.settings, local_path(plan.model)
    torch.set_num_threads(cores())

    class Noting(TrainerCallback):
        """Notes the steps that the trainer logs."""

        before = 0.0

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if "num_tokens" in logs:
                noted(logs["num_tokens"] - self.before, logs["loss"])
                self.before = logs["num_tokens"]

    config = SFTConfig(
        output_dir=str(Path(plan.store.root) / "trl"),
        model_init_kwargs={"dtype": "float32", "attn_implementation": "sdpa"},
        max_length=settings.window,
        packing=True,
        packing_strategy=strategy,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=settings.batch_windows,
        max_steps=10**6,
        learning_rate=settings.lr,
        lr_scheduler_type="constant",
        optim="adamw_torch_fused",
        adam_beta1=BETAS[0],
        adam_beta2=BETAS[1],
        adam_epsilon=EPS,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.clip,
        bf16=settings.dtype == "bfloat16",
        gradient_checkpointing=settings.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        use_cpu=settings.device == "cpu",
        dataloader_pin_memory=settings.device != "cpu",
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    tokenizer = AutoTokenizer.from_pretrained(path)
    data = _examples(plan)
    SFTTrainer(model=path, args=config, train_dataset=data, processing_class=tokenizer, callbacks=[Noting()]).train()


def _examples(plan: PhasePlan) -> Any:
    """The examples of the packs as TRL takes tokenized ones, in the order of their names."""
    from datasets import Dataset

    from cluster.packs import Windows

    windows = Windows(plan.store, plan.packs)
    held = {
        name: document
        for number in range(len(windows))
        for name, document in zip(windows[number].examples, windows[number].documents, strict=True)
    }
    rows = []
    for _, document in sorted(held.items()):
        ids = document.ids.tolist()
        rows.append({"input_ids": ids, "labels": [IGNORED] * document.prompt + ids[document.prompt :]})
    return Dataset.from_list(rows)


def _memory() -> int:
    """The most memory that this process had so far: the GPU's where it has one."""
    import resource

    import torch

    if torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main(argv: Sequence[str]) -> None:
    """Run a side until it is killed."""
    side, setup, steps = argv
    path = Path(steps)

    def noted(tokens: float, loss: float, flops: float = 0.0) -> None:
        with path.open("a") as file:
            file.write(f"{time.monotonic()} {tokens} {loss} {_memory()} {flops}\n")

    if side == "beside":
        _beside(setup, steps)
        return
    asked = json.loads(Path(setup).read_text())
    if side in ("ours", "ray"):
        (_ours if side == "ours" else _on_ray)(asked, noted)
    else:
        _trl(side, asked, noted)


if __name__ == "__main__":
    main(sys.argv[1:])
