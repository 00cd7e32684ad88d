"""Ray clusters of several nodes on this machine, each started as on a machine of its own: by `ray start`, or by Ray's
autoscaler.

The nodes share one address and are told apart by ports. Nothing but a token (where one is asked for) gets a driver in:
`environment` has all that it needs. All processes end with the block, by their ids.
"""

import contextlib
import json
import os
import queue
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

STORE_BYTES = 80_000_000
_RAY = Path(sys.executable).parent / "ray"
# What `python` is on a node that jobs are submitted to.
_MACHINE = {"PYTHONUNBUFFERED": "1", "PATH": f"{_RAY.parent}:{os.environ['PATH']}"}
_START_S, _END_S = 90.0, 30.0
_HEAD_ID = "fffffffffffffffffffffffffffffffffffffffffffffffffff00000"
# What is done on a machine before it is a node.
_NOT_HERE = (
    *("initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands"),
    *("head_start_ray_commands", "worker_start_ray_commands", "cluster_synced_files"),
)
_PROVIDER = {
    "type": "external",
    "module": "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider",
    "use_node_id_as_ip": True,
    "disable_node_updaters": True,
    "disable_launch_config_check": True,
    "launch_multiple": True,
    "head_node_id": _HEAD_ID,
}


@dataclass
class Nodes:
    """A running cluster. `started` are the processes of `ray start`, the head's first; `folder` is Ray's folder."""

    gcs: str
    dashboard: str
    token: str | None
    folder: Path
    environment: Mapping[str, str]
    """What a driver or a client of this cluster must have in its environment."""
    started: list["subprocess.Popen[str]"] = field(default_factory=list)

    def join(self, cpus: float, *, inside: Sequence[str] = ()) -> None:
        """One node more; `inside` is a command that runs the one after it, such as unshare."""
        # One after the other: two that start at once on one machine take the same names for their sockets.
        more = _Start(_worker(self.gcs, cpus, self.folder / str(len(self.started))), self.environment, inside=inside)
        self.started.append(more.process)
        more.wait()

    def kill(self, at: int) -> None:
        """SIGKILL a node, counted from 0 (the head), and all below it."""
        killed(psutil.Process(self.started[at].pid))

    def raylets(self) -> list[psutil.Process]:
        """The nodes' raylets that run, oldest first."""
        running = [psutil.Process(each.pid) for each in self.started if each.poll() is None]
        found = [each for start in running for each in start.children(recursive=True) if _is_raylet(each)]
        return sorted(found, key=psutil.Process.create_time)

    @property
    def workers(self) -> int:
        """Nodes that run, without the head."""
        return len(self.raylets()) - 1


@contextlib.contextmanager
def started(nodes: int = 3, *, cpus: float = 1, token: bool = True, head_cpus: float | None = None) -> Iterator[Nodes]:
    """A head and further nodes, `nodes` in all, each with so many CPUs; `head_cpus` where the head differs."""
    with _head(token=token, cpus=cpus if head_cpus is None else head_cpus) as made:
        for _ in range(nodes - 1):
            made.join(cpus)
        yield made


@contextlib.contextmanager
def autoscaled(
    most: int = 4, *, least: int = 0, cpus: int = 1, idle_s: float = 5.0, token: bool = False
) -> Iterator[Nodes]:
    """A head without CPUs and an autoscaler that starts `least` to `most` nodes for what is asked, as processes here.

    A node that idles for `idle_s` is ended.
    """
    worker = {"resources": {"CPU": cpus, "object_store_memory": STORE_BYTES}, "labels": {"work": "cpu"}}
    kinds = {
        "ray.head.default": {"resources": {"CPU": 0}, "max_workers": 0, "node_config": {}},
        "worker": {**worker, "min_workers": least, "max_workers": most, "node_config": {}},
    }
    scaling = {
        "cluster_name": "here",
        "max_workers": most,
        "idle_timeout_minutes": idle_s / 60,
        "head_node_type": "ray.head.default",
        "available_node_types": kinds,
        **{name: [] for name in _NOT_HERE},
        "auth": {},
        "file_mounts": {},
    }
    with _head(token=token, cpus=0, scaling=scaling) as made:
        yield made


def killed(process: psutil.Process) -> None:
    """SIGKILL a process and all below it, and wait until they are gone."""
    with contextlib.suppress(psutil.NoSuchProcess):
        family = [process, *process.children(recursive=True)]
        for each in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        psutil.wait_procs(family, timeout=_END_S)


def until(there: Callable[[], bool], *, seconds: float, what: str) -> float:
    """Wait for something; returns the seconds that it took."""
    began = time.monotonic()
    while not there():
        if time.monotonic() - began > seconds:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(0.1)
    return time.monotonic() - began


@contextlib.contextmanager
def _head(*, token: bool, cpus: float, scaling: Mapping[str, Any] | None = None) -> Iterator[Nodes]:
    # Short: a socket's whole path has some hundred characters at most.
    folder = Path(tempfile.mkdtemp(prefix="lt-", dir="/tmp"))
    gcs, page, agent, client = _free_ports(4)
    made = Nodes(
        f"{_address()}:{gcs}", f"http://127.0.0.1:{page}", secrets.token_hex(32) if token else None, folder, {}
    )
    made.environment = {"RAY_ADDRESS": made.gcs, "RAY_USAGE_STATS_ENABLED": "0"}
    made.environment |= {"RAY_AUTH_MODE": "token" if token else "disabled"}
    if made.token is not None:
        made.environment["RAY_AUTH_TOKEN"] = made.token
    command = [
        *("start", "--head", "--block", f"--node-ip-address={_address()}", f"--port={gcs}", f"--temp-dir={folder}"),
        *("--include-dashboard=true", "--dashboard-host=127.0.0.1", f"--dashboard-port={page}"),
        *(f"--dashboard-agent-listen-port={agent}", f"--ray-client-server-port={client}", *_node(cpus)),
    ]
    environment = dict(made.environment)
    if scaling is not None:
        file = folder / "scaling.json"
        file.write_text(json.dumps({**scaling, "provider": {**_PROVIDER, "gcs_address": made.gcs}}))
        command.append(f"--autoscaling-config={file}")
        environment |= _SCALING
    try:
        head = _Start(command, environment)
        made.started.append(head.process)
        head.wait()
        yield made
    finally:
        for each in reversed(made.started):
            if each.poll() is None:
                killed(psutil.Process(each.pid))
            each.wait(timeout=_END_S)
        shutil.rmtree(folder, ignore_errors=True)


_SCALING = {
    "AUTOSCALER_UPDATE_INTERVAL_S": "1",
    "RAY_FAKE_CLUSTER": "1",
    "RAY_enable_autoscaler_v2": "1",
    "RAY_CLOUD_INSTANCE_ID": _HEAD_ID,
    "RAY_OVERRIDE_NODE_ID_FOR_TESTING": _HEAD_ID,
}


def _worker(gcs: str, cpus: float, folder: Path) -> list[str]:
    # A folder of its own, as on a machine of its own: nodes that share one delete each other's copies of a job's files.
    node = ("--dashboard-agent-listen-port=0", "--include-log-monitor=false", f"--temp-dir={folder}")
    return ["start", "--block", f"--address={gcs}", *node, *_node(cpus)]


def _node(cpus: float) -> list[str]:
    # 0 means any free port; with Ray's own range two nodes of one machine would take the same.
    ports = ("--min-worker-port=0", "--max-worker-port=0")
    return [f"--num-cpus={cpus:g}", f"--object-store-memory={STORE_BYTES}", *ports]


class _Start:
    """A `ray start --block` and what it says."""

    def __init__(self, command: list[str], environment: Mapping[str, str], *, inside: Sequence[str] = ()) -> None:
        self.process = subprocess.Popen(
            [*inside, str(_RAY), *command],
            env=os.environ | environment | _MACHINE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._said: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def wait(self) -> None:
        """Return once its node has registered: it says so a moment after its port opens."""
        lines: list[str] = []
        give_up = time.monotonic() + _START_S
        while "Ray runtime started" not in (lines[-1] if lines else ""):
            with contextlib.suppress(queue.Empty):
                lines.append(self._said.get(timeout=0.2))
                continue
            if self.process.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError(f"a node of Ray did not start: {''.join(lines)[-2000:]}")

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._said.put(line)


def _is_raylet(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.name() == "raylet"
    return False


def _address() -> str:
    """The address that Ray takes for this machine's own, even where it is told the loopback's."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unsent:
        unsent.connect(("8.8.8.8", 80))
        return str(unsent.getsockname()[0])
    return "127.0.0.1"


def _free_ports(number: int) -> list[int]:
    """Different ones, as all are held at once."""
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(number)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
