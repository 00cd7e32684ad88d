"""The training loop on a few CPU ranks without Ray: processes of their own over gloo, and what each step was."""

import contextlib
import os
import pickle
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

ROOT = Path(__file__).resolve().parent.parent
WINDOW = 256


@dataclass(frozen=True)
class Run:
    """One training of `plan` on every rank."""

    plan: Any
    checkpoint: Path
    resume: bool = False
    stop_at: int | None = None
    """Steps after which all ranks leave, as killed ones do."""


@dataclass
class Outcome:
    """What a run left."""

    history: Any = None
    grads: dict[str, np.ndarray] = field(default_factory=dict)
    """The first step's gradients, whole, before clipping."""
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    stopped: str | None = None


def windows(store: Any, folder: str, held: Sequence[Any]) -> None:
    """Write windows (pipeline.pack.Window) where the loop reads them."""
    from cluster.packs import PackMeta

    tables = [
        pa.table(
            {
                "ids": pa.array([window.ids.tolist()], pa.list_(pa.int32())),
                "lengths": pa.array([window.lengths.tolist()], pa.list_(pa.int32())),
                "prompts": pa.array([window.prompts.tolist()], pa.list_(pa.int32())),
                "examples": pa.array([list(window.examples)], pa.list_(pa.string())),
            }
        )
        for window in held
    ]
    store.write_batches(f"{folder}/windows-00000.arrow", tables)
    meta = PackMeta(
        made_of="a test",
        window=WINDOW,
        pad_id=0,
        examples=sum(len(window.examples) for window in held),
        left_out={},
        truncated=0,
        longest=max(int(window.lengths.max()) for window in held),
        files=("windows-00000.arrow",),
        windows_in_files=(len(held),),
        num_tokens=tuple(len(window.ids) for window in held),
        num_labels=tuple(window.num_labels for window in held),
    )
    store.write_json(f"{folder}/meta.json", meta.model_dump())


def plan(folder: Path, model: Path, *, packs: str = "packs", validation: str | None = None, **settings: Any) -> Any:
    """A phase over the windows in `packs` of a store in `folder`."""
    from cluster.training.plan import PhasePlan
    from pipeline.store import Store
    from pipeline.training.settings import TrainSettings

    epochs = settings.pop("epochs", 4)
    given = {"device": "cpu", "dtype": "float32", "lr": 1e-3, "window": WINDOW, "loss_chunk": 64} | settings
    made = TrainSettings(phases=({"name": "only", "generations": ("long",), "epochs": epochs},), **given)
    store = Store(str(folder))
    return PhasePlan(store, str(model), "a test", packs, validation, "out/export", made, made.phases[0], seed=5)


def train_on(ranks: int, runs: Sequence[Run], folder: Path) -> list[Outcome]:
    """Train the runs one after the other on so many ranks."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "runs.pickle").write_bytes(pickle.dumps(list(runs)))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    env = os.environ | {"WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    env |= {"DS_ACCELERATOR": "cpu", "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(
            [sys.executable, __file__, str(folder)],
            cwd=ROOT,
            env=env | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.DEVNULL,
            stderr=(folder / f"rank-{rank}.txt").open("w"),
        )
        for rank in range(ranks)
    ]
    ended = _ended(started)
    texts = [(folder / f"rank-{rank}.txt").read_text()[-3000:] for rank in range(ranks)]
    assert not ended, "\n".join([*ended, *texts])
    made: list[Outcome] = pickle.loads((folder / "outcomes.pickle").read_bytes())
    return made


def _ended(started: "Sequence[subprocess.Popen[bytes]]", *, within_s: float = 300) -> list[str]:
    """What went wrong on each rank, empty where nothing did; one that fails would leave the others waiting."""
    deadline = time.monotonic() + within_s
    while any(process.poll() is None for process in started):
        if any(process.poll() for process in started) or time.monotonic() > deadline:
            for process in started:
                process.kill()
        time.sleep(0.05)
    return [f"rank {rank} ended with {p.returncode}" for rank, p in enumerate(started) if p.returncode]


class Outside:
    """A folder in place of Ray Train."""

    def __init__(self, run: Run) -> None:
        self._run = run

    @contextlib.contextmanager
    def last(self) -> Iterator[Path | None]:
        """The run's checkpoint, if it is to go on from it."""
        yield self._run.checkpoint if self._run.resume else None

    def keep(self, write: Callable[[Path], None], history: Any, total: int) -> None:
        """Write over the one before."""
        import torch.distributed as dist

        if dist.get_rank() == 0:
            shutil.rmtree(self._run.checkpoint, ignore_errors=True)
            self._run.checkpoint.mkdir(parents=True)
        dist.barrier()
        write(self._run.checkpoint)
        dist.barrier()

    def leaving(self) -> bool:
        """Nobody takes a node away here."""
        return False

    def begun(self, model: Any, plan: Any, history: Any, total: int) -> None:
        """Nobody watches here."""

    def told(self, plan: Any, history: Any, total: int) -> None:
        """Leave where the run is to be cut off."""
        if history.done == self._run.stop_at:
            raise CutOff


class CutOff(Exception):
    """The run ends here, as if it had been killed."""


def _main(folder: Path) -> None:
    import torch
    import torch.distributed as dist
    from deepspeed.utils import safe_get_full_grad

    from cluster.training import loop
    from cluster.training.guard import Guard
    from pipeline.errors import Stop

    dist.init_process_group("gloo")
    torch.set_num_threads(1)
    outcomes = []
    for run in pickle.loads((folder / "runs.pickle").read_bytes()):
        outcome = Outcome()

        class Looking(Guard):
            def __init__(self, engine: Any, settings: Any, *, clip: float) -> None:
                super().__init__(engine, settings, clip=clip)
                self.engine = engine

            def expects(self, loss: float, history: Any, outcome: Outcome = outcome) -> None:
                super().expects(loss, history)
                if history.done == 0:
                    for name, parameter in self.engine.module.model.named_parameters():
                        grad = safe_get_full_grad(parameter)
                        if grad is not None:
                            outcome.grads[name] = grad.float().numpy().copy()

        loop.Guard = Looking
        try:
            trained = loop.train(run.plan, Outside(run))
            outcome.history = trained.history
            outcome.weights = _whole(trained.opened.engine)
        except CutOff:
            pass
        except Stop as stop:
            outcome.stopped = str(stop)
        outcomes.append(outcome)
    if dist.get_rank() == 0:
        (folder / "outcomes.pickle").write_bytes(pickle.dumps(outcomes))
    dist.barrier()


def _whole(engine: Any) -> dict[str, np.ndarray]:
    import deepspeed

    made = {}
    for name, parameter in engine.module.model.named_parameters():
        with deepspeed.zero.GatheredParameters([parameter]):
            made[name] = parameter.detach().float().numpy().copy()
    return made


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    import ranks

    ranks._main(Path(sys.argv[1]))
