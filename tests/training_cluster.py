"""A cluster of several nodes on this machine, a training on it as its user starts it, and ways to hit both."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from tiny import ROOT, recipe, recorded, tiny_model

QUICK = {
    "RAY_AUTH_MODE": "disabled",
    # Ray's own pace is 2 and 5 s: nothing but the test's length depends on it.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    "RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S": "0.2",
}


@dataclass
class Nodes:
    """Raylets of one CPU each around a head that has none."""

    cluster: Any
    nodes: list[Any] = field(default_factory=list)

    @property
    def address(self) -> str:
        """What RAY_ADDRESS must be."""
        return str(self.cluster.address)

    def add(self) -> None:
        """One node more."""
        self.nodes.append(self.cluster.add_node(num_cpus=1, object_store_memory=80_000_000))

    def kill(self) -> None:
        """SIGKILL the newest node: its raylet and every process below it."""
        killed(raylet(self.nodes.pop()))

    def drain(self) -> None:
        """Tell Ray that the newest node is taken back in a minute, as a cloud's watcher does."""
        from ray._raylet import GcsClient
        from ray.core.generated.autoscaler_pb2 import DrainNodeReason

        # What `ray drain-node` does, without the seconds that its start takes.
        reason, until = DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION"), int(time.time() * 1000) + 60_000
        accepted, why = GcsClient(address=self.address).drain_node(self.nodes[-1].node_id, reason, "spot", until)
        assert accepted, why

    def workers(self) -> list[psutil.Process]:
        """The ranks' processes, by node."""
        return [each for node in self.nodes for each in below(raylet(node)) if is_rank(each)]


@contextlib.contextmanager
def nodes(number: int) -> Iterator[Nodes]:
    """A cluster of so many nodes beside its head."""
    from ray.cluster_utils import Cluster

    before = dict(os.environ)
    os.environ.update(QUICK)

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": 80_000_000})
    made = Nodes(cluster)
    try:
        for _ in range(number):
            made.add()
        yield made
    finally:
        cluster.shutdown()
        os.environ.clear()
        os.environ.update(before)


def raylet(node: Any) -> psutil.Process:
    """A node's raylet."""
    return psutil.Process(node.all_processes["raylet"][0].process.pid)


def below(process: psutil.Process) -> list[psutil.Process]:
    """A process' children and theirs."""
    return process.children(recursive=True)


def is_rank(process: psutil.Process) -> bool:
    """Whether a process is a training's rank."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return "RayTrainWorker" in " ".join(process.cmdline())
    return False


def killed(process: psutil.Process) -> None:
    """SIGKILL a process and all below it."""
    for each in [process, *below(process)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            os.kill(each.pid, signal.SIGKILL)


def conversations(folder: Path, *, rows: int) -> Path:
    """A data set that a phase takes as it is: train-*.parquet with `messages`."""
    folder.mkdir(parents=True)
    said = [
        [
            {"role": "user", "content": f"What is {n} + {n}?"},
            {
                "role": "assistant",
                "content": f"<think>\n{n} twice{' and on' * (n % 17)}.\n</think>\n\n\\boxed{{{2 * n}}}",
            },
        ]
        for n in range(rows)
    ]
    table = pa.table({"messages": said})
    pq.write_table(table, folder / "train-00000.parquet")
    return folder


def training_recipe(folder: Path, *, rows: int, **train: Any) -> Path:
    """A recipe that trains the tiny model on made conversations, on one to three ranks of one CPU."""
    tiny_model(folder / "model")
    settings = {
        "device": "cpu",
        "workers": [1, 3],
        "cpus_per_worker": 1,
        "window": 256,
        "batch_windows": 6,
        "lr": 3e-4,
        "dtype": "float32",
        "gradient_checkpointing": False,
        "loss_chunk": 128,
        "checkpoint_steps": 3,
        "check_export": [],
        "phases": [{"name": "only", "dataset": str(conversations(folder / "rows", rows=rows)), "epochs": 10}],
    }
    return recipe(folder, recorded(folder / "problems.jsonl", problems=2), train=settings | train)


class Training:
    """`jobs.train`, started, watched through what it leaves in its folder, and hit."""

    def __init__(self, path: Path, run: Path, *, address: str, overrides: tuple[str, ...] = ()) -> None:
        command = [sys.executable, "-m", "jobs.train", str(path), f"storage={run}", *overrides]
        self.run = run / "made"
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | QUICK | {"RAY_ADDRESS": address},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def phase(self) -> Path:
        """The folder of the phase's checkpoints."""
        found = list(self.run.glob("checkpoints/*-only"))
        return found[0] if found else self.run / "checkpoints" / "none"

    def noted(self) -> int:
        """The step of the newest checkpoint that Ray has noted; 0 without one."""
        with contextlib.suppress(OSError, ValueError):
            note = json.loads((self.phase / "checkpoint_manager_snapshot.json").read_text())
            return int(note["latest_checkpoint_result"]["metrics"]["step"])
        return 0

    def wait(self, until: Callable[[], bool], *, seconds: float = 150) -> None:
        """Wait until something holds, while the command runs."""
        deadline = time.monotonic() + seconds
        while not until():
            assert self.process.poll() is None, self.ended()
            assert time.monotonic() < deadline, f"waited {seconds} s in vain, at step {self.noted()}"
            time.sleep(0.02)

    def further(self, steps: int) -> None:
        """Wait for a checkpoint at least so many steps beyond the newest."""
        beyond = self.noted() + steps
        self.wait(lambda: self.noted() >= beyond)

    def kill(self) -> None:
        """SIGKILL the command."""
        self.process.kill()
        self.process.communicate()

    def ended(self) -> tuple[int, str, str]:
        """Its exit status and what it said."""
        out, err = self.process.communicate(timeout=200)
        return self.process.returncode, out, err
