"""What the tests take from the command line, and one Ray for those whose commands need none of their own."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from s3 import KEYS
from tiny import WRONG_KEY

# No token to get in, and no process that tells Ray's makers about it.
_OPEN = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}


def pytest_addoption(parser: pytest.Parser) -> None:
    """The size of the fault suite (`make faults N=300 SEED=1` sets both), and of the suite of hostile replies."""
    parser.addoption("--kills", type=int, default=30, help="how many kills the fault suite makes")
    parser.addoption("--seed", type=int, default=1, help="the seed that its kills are drawn from")
    parser.addoption("--matrix", action="store_true", help="every kill of training on every number of ranks (hours)")
    parser.addoption("--all-hostile", action="store_true", help="judge every hostile reply, not every fourth")


@pytest.fixture(scope="session")
def _cluster() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="lt-ray-", dir="/tmp") as folder:
        ports = [_free_port() for _ in range(3)]
        command = [
            *(Path(sys.executable).parent / "ray", "start", "--head", "--block", "--num-cpus=2"),
            "--include-dashboard=false",
            *("--node-ip-address=127.0.0.1", f"--port={ports[0]}", f"--temp-dir={folder}"),
            *(f"--dashboard-port={ports[1]}", f"--dashboard-agent-listen-port={ports[2]}"),
        ]
        # Data sets that tests make must not stay in the user's store of them.
        environment = os.environ | KEYS | WRONG_KEY | _OPEN | {"PYTHONUNBUFFERED": "1"}
        environment["HF_DATASETS_CACHE"] = f"{folder}/datasets"
        ray = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            _wait_for(ray)
            yield f"127.0.0.1:{ports[0]}"
        finally:
            # Its own way of ending waits half a minute for them.
            family = psutil.Process(ray.pid).children(recursive=True) if ray.poll() is None else []
            for process in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            ray.kill()
            ray.wait(timeout=60)


@pytest.fixture
def shared_ray(_cluster: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a running Ray with two CPUs; jobs that the test starts use it."""
    monkeypatch.setenv("RAY_ADDRESS", _cluster)
    for name, value in _OPEN.items():
        monkeypatch.setenv(name, value)
    return _cluster


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(ray: "subprocess.Popen[str]") -> None:
    """Read what Ray says until it runs. It says so when its node has registered, a moment after its port opens."""
    said: list[str] = []

    def listen() -> None:
        assert ray.stdout is not None
        for line in ray.stdout:
            said.append(line)
            if "Ray runtime started" in line:
                return

    listening = threading.Thread(target=listen, daemon=True)
    listening.start()
    listening.join(timeout=60)
    if not said or "Ray runtime started" not in said[-1]:
        raise RuntimeError(f"Ray did not start, or not within a minute: {''.join(said)[-2000:]}")
