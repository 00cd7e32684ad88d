"""Kills, at seeded moments, of every kind of process that a distilling run is made of: what tests/test_faults.py uses.

The cluster (a head and small worker nodes), the stand-in teacher and the driver live in processes of their own, all on
this machine. Only processes that were started here or that belong to an actor of this cluster are killed.
"""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ray.cluster_utils import Cluster
from standin_lives import Teacher
from tiny import start

CALLERS, IN_FLIGHT = 2, 8
AWAY_S = 20.0
_WORKERS, _WORKER = 2, {"num_cpus": 2}
_ACTORS = {
    "caller": "MapWorker(MapBatches(Generate))",
    "verifier": "MapWorker(MapBatches(Collect))",
    "keeper": "Keeper",
}
# A driver or a node takes half a minute to come back on two cores, the others a few seconds.
_WEIGHTS = {"caller": 8, "keeper": 8, "verifier": 3, "node": 1, "driver": 1}
_BURST, _BURST_S = 0.5, 3.0
_PATIENCE_S = 300.0
# Ray's own 3 s, 10 s and 5 are for networks; here a node that does not answer is dead.
_HEALTH = {"health_check_period_ms": 500, "health_check_timeout_ms": 2000, "health_check_failure_threshold": 3}
_GONE = "can't be reached"


@dataclass(frozen=True)
class Kill:
    """What is killed, once the teacher has billed so many requests and then so many seconds have passed."""

    kind: str
    after: int
    delay_s: float

    @property
    def most_open(self) -> int:
        """The most calls that can be open in what it kills."""
        return {"caller": IN_FLIGHT, "keeper": 0, "verifier": 0}.get(self.kind, CALLERS * IN_FLIGHT)


@dataclass
class Tally:
    """The kills that hit a running process, and the most calls that were open in what they killed."""

    hits: Counter[str] = field(default_factory=Counter)
    in_flight: int = 0
    stops: int = 0
    """Times that the driver ended by itself because the teacher was away, and was started again."""


def kills_of(rng: random.Random, count: int, *, calls: int) -> list[Kill]:
    """Kills over a run of so many calls: each kind once, the rest by weight; some in quick succession."""
    kinds = ["teacher", *_WEIGHTS][:count]
    kinds += rng.choices(list(_WEIGHTS), list(_WEIGHTS.values()), k=count - len(kinds))
    rng.shuffle(kinds)
    moments = sorted(rng.uniform(0.03, 0.8) * calls for _ in kinds)
    kills: list[Kill] = []
    for kind, moment in zip(kinds, moments, strict=True):
        if kills and rng.random() < _BURST:
            kills.append(Kill(kind, kills[-1].after, rng.uniform(0.0, _BURST_S)))
        else:
            kills.append(Kill(kind, int(moment), rng.uniform(0.0, 0.3)))
    return kills


class Faults:
    """A cluster, a teacher and the recipe that they distil, with hands on all of their processes."""

    def __init__(self, cluster: Cluster, teacher: Teacher, recipe: Path, rng: random.Random) -> None:
        self.cluster = cluster
        self.teacher = teacher
        self._recipe = recipe
        self._rng = rng
        self._driver: subprocess.Popen[str] | None = None
        self._overrides: tuple[str, ...] = ()
        self._back_at = 0.0
        self._ended: set[str] = set()
        self.tally = Tally()

    def distil(self, folder: Path, kills: list[Kill], *overrides: str) -> "subprocess.CompletedProcess[str]":
        """Distil into a folder through all these kills, starting a killed driver again; returns how it ended."""
        self.tally, self._back_at = Tally(), 0.0
        self._overrides = (f"storage={folder / 'runs'}", f"cluster.address={self.cluster.address}", *overrides)
        self._drive()
        for kill in kills:
            if not self._until(lambda kill=kill: self.teacher.billed["requests"] >= kill.after):
                break
            until = time.monotonic() + kill.delay_s
            self._until(lambda until=until: time.monotonic() >= until)
            if not self._hit(kill, folder):
                break
        self._until(lambda: False)
        assert self._driver is not None
        out, err = self._driver.communicate()
        return subprocess.CompletedProcess(self._driver.args, self._driver.returncode, out, err)

    def close(self) -> None:
        """End what is still running."""
        if self._driver is not None and self._driver.poll() is None:
            self._driver.kill()
            self._driver.communicate()
        if self.teacher.serves:
            self.teacher.kill()

    def _until(self, there: Callable[[], bool]) -> bool:
        """Wait; False once the driver has ended. A teacher that is due comes back, a driver that missed it too."""
        give_up = time.monotonic() + _PATIENCE_S
        while not there():
            assert time.monotonic() < give_up, f"nothing goes on after {dict(self.tally.hits)}"
            if not self.teacher.serves and time.monotonic() >= self._back_at:
                self.teacher.start()
            assert self._driver is not None
            if self._driver.poll() is not None and not self._missed():
                return False
            time.sleep(0.05)
        return True

    def _missed(self) -> bool:
        """Whether the driver ended only for want of a teacher: then its user runs the same command again."""
        assert self._driver is not None
        assert self._driver.stderr is not None
        if self._driver.returncode != 1 or self._back_at == 0.0:
            return False
        said = self._driver.stderr.read()
        if _GONE not in said:
            raise AssertionError(said[-3000:])
        if not self.teacher.serves:
            time.sleep(max(0.0, self._back_at - time.monotonic()))
            self.teacher.start()
        self.tally.stops += 1
        self._drive()
        return True

    def _drive(self) -> None:
        self._driver = start("distill", self._recipe, *self._overrides)

    def _hit(self, kill: Kill, folder: Path) -> bool:
        hit: Callable[[], int | None] = {
            "driver": self._kill_driver,
            "node": self._kill_node,
            "teacher": self._kill_teacher,
        }.get(kill.kind, lambda: self._kill_actor(kill.kind, folder))
        found: list[int] = []

        def tried() -> bool:
            open_calls = hit()
            found.extend([] if open_calls is None else [open_calls])
            return bool(found)

        if not self._until(tried):
            return False
        self.tally.hits[kill.kind] += 1
        self.tally.in_flight += found[0]
        print(
            f"{time.strftime('%X')} {kill.kind:8} at {self.teacher.billed['requests']} billed, open {found[0]}",
            flush=True,
        )
        return True

    def _kill_driver(self) -> int | None:
        assert self._driver is not None
        if self._driver.poll() is not None:
            return None
        callers = len(self._actors("caller"))
        self._ended |= {actor["JobID"] for actor in self.cluster.global_state.actor_table(None).values()}
        self._driver.kill()
        self._driver.communicate()
        self._drive()
        return callers * IN_FLIGHT

    def _kill_node(self) -> int | None:
        lived_on = {actor["Address"]["NodeID"] for name in _ACTORS for actor in self._actors(name)}
        nodes = [node for node in self.cluster.worker_nodes if node.node_id in lived_on]
        if not nodes:
            return None
        node = self._rng.choice(sorted(nodes, key=lambda node: node.node_id))
        callers = [actor for actor in self._actors("caller") if actor["Address"]["NodeID"] == node.node_id]
        self.cluster.remove_node(node, allow_graceful=False)
        self.cluster.add_node(**_WORKER)
        return len(callers) * IN_FLIGHT

    def _kill_teacher(self) -> int | None:
        if not self.teacher.serves:
            return None
        self._back_at = time.monotonic() + AWAY_S
        return self.teacher.kill()

    def _kill_actor(self, kind: str, folder: Path) -> int | None:
        if kind == "verifier":
            # Shards end in bunches: as one is finished, the next is likely being verified, merged or written.
            before = _finished(folder)
            if not self._until(lambda: _finished(folder) > before):
                return None
        for actor in self._actors(kind):
            with contextlib.suppress(ProcessLookupError):
                os.kill(actor["Pid"], signal.SIGKILL)
                return IN_FLIGHT if kind == "caller" else 0
        return None

    def _actors(self, kind: str) -> list[dict[str, Any]]:
        """The living actors of a kind, in a random order, without those of a driver that was killed."""
        alive = [actor for actor in actors(self.cluster, kind) if actor["JobID"] not in self._ended]
        self._rng.shuffle(alive)
        return alive


@contextlib.contextmanager
def cluster() -> Iterator[Cluster]:
    """A head without CPUs and some small nodes, in a folder of their own."""
    folder = tempfile.mkdtemp(prefix="faults-")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("RAY_AUTH_MODE", "disabled")
        environment.setenv("RAY_USAGE_STATS_ENABLED", "0")
        environment.setenv("RAY_TMPDIR", folder)
        head = {"num_cpus": 0, "include_dashboard": False, "_system_config": _HEALTH}
        made = Cluster(initialize_head=True, head_node_args=head)
        try:
            for _ in range(_WORKERS):
                made.add_node(**_WORKER)
            yield made
        finally:
            made.shutdown()
            shutil.rmtree(folder, ignore_errors=True)


def actors(made: Cluster, kind: str) -> list[dict[str, Any]]:
    """The living actors of a kind: caller, verifier or keeper."""
    table = made.global_state.actor_table(None, actor_state_name="ALIVE").values()
    alive = [actor for actor in table if actor["ActorClassName"] == _ACTORS[kind] and _is_ray(actor["Pid"])]
    return sorted(alive, key=lambda actor: actor["Pid"])


def engine_cores(made: Cluster) -> list[int]:
    """The processes of vLLM's engines that the callers have started."""
    children = [child for actor in actors(made, "caller") for child in _children(actor["Pid"])]
    return [pid for pid in children if b"EngineCore" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def _children(pid: int) -> list[int]:
    threads = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for thread in threads for child in thread.read_text().split()]


def _finished(folder: Path) -> int:
    return len(list((folder / "runs" / "made" / "traces").glob("*.parquet")))


def _is_ray(pid: int) -> bool:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::")
    return False
