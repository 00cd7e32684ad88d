"""Calls/s of jobs.distill on 1, 2 and 4 nodes with one caller each: the real stream, keeper and ledger.

The nodes are raylets of one CPU on this machine, and the stand-in answers after a fixed latency, so what the calls wait
for grows with the nodes while the cores do not: few calls at once leave cores free, many use them up. What counts is
the steady state, by the times at which the ledger's answers came, from a while after every caller has its first.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from cluster.standin import standin
from jobs.benches.result import Result
from pipeline.standin.settings import StandinSettings

_NODES = (1, 2, 4)
_FEW, _MORE = 32, (96, 192)
_LATENCY_S = 1.0
_SETTLE_S, _WINDOW_S, _START_S = 4.0, 20.0, 90.0
_PROBLEMS, _DRAWS, _SHARDS = 8000, 10, 160
_LINEAR = 0.9
_SAMPLE_S = 0.5


@dataclass(frozen=True, slots=True)
class Steady:
    """Calls a second while all callers were at work, and the share of this machine's cores that was busy then."""

    rate: float
    busy: float


def nodes() -> list[Result]:
    """Twice and four times the nodes with cores to spare, against so many times one node."""
    with _curated() as curated:
        found = {number: _steady(curated, number, in_flight=_FEW) for number in _NODES}
    one = found[1].rate
    return [
        _result(f"nodes_{number}", found[number], number * one, f"{number} x one node", goal=_LINEAR)
        for number in _NODES[1:]
    ]


def nodes_full() -> list[Result]:
    """Four nodes with ever more calls at once, against what the latency allows: where the cores run out."""
    with _curated() as curated:
        found = {most: _steady(curated, _NODES[-1], in_flight=most) for most in _MORE}
    return [
        _result(f"nodes_full_{most}", steady, _NODES[-1] * most / _LATENCY_S, "what the latency allows", goal=0.0)
        for most, steady in found.items()
    ]


def _result(name: str, steady: Steady, peer: float, peer_name: str, *, goal: float) -> Result:
    unit = f"calls/s, {steady.busy:.0%} of the cores"
    return Result(name, steady.rate, peer, peer_name, unit, steady.rate / peer, goal=goal)


@contextlib.contextmanager
def _curated() -> Iterator[Path]:
    """A recipe whose problems are curated, and which asks a stand-in that is there for as long as the block."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "problems.jsonl"
        reply = f"<think>\n{'So it goes on. ' * 60}\n</think>\n\n\\boxed{{3}}"
        lines = ({"question": f"What is {n} - {n} + 3?", "answer": "3", "reply": reply} for n in range(_PROBLEMS))
        source.write_bytes(b"\n".join(map(orjson.dumps, lines)))
        answers = StandinSettings(answers="replay", path=str(source), replies=("reply",), latency_s=_LATENCY_S)
        with standin(answers, host="127.0.0.1") as base_url:
            recipe = _recipe(folder, source, base_url)
            _checked([sys.executable, "-m", "jobs.curate", str(recipe)])
            yield recipe


def _recipe(folder: Path, source: Path, base_url: str) -> Path:
    fields = {"prompt": "question", "answer": "answer"}
    generation = {"name": "long", "engine": "teacher", "draws": _DRAWS, "sampling": {"max_tokens": 1000}}
    recipe = {
        "name": "nodes",
        "storage": str(folder / "runs"),
        "shards": _SHARDS,
        "cluster": {"local_cpus": 2, "dashboard": False},
        # Two callers do not fit on one node, and the verifier fits beside one.
        "stream": {"caller_cpus": 0.6, "verifier_cpus": 0.3},
        "sources": [{"name": "made", "format": "jsonl", "path": str(source), "fields": fields, "licence": "CC0-1.0"}],
        "teacher": {"model": "stand-in", "base_url": base_url, "served_by": "bench", "in_flight": _FEW, "actors": 1},
        "student": {"model": "SmolLM2-135M-Instruct"},
        "distill": {"generations": [generation]},
        "train": {"phases": [{"name": "distill", "generations": ["long"]}]},
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


def _steady(recipe: Path, number: int, *, in_flight: int) -> Steady:
    """One run on a cluster of its own, broken off once it has been measured."""
    storage = recipe.parent / f"runs-{number}-{in_flight}"
    shutil.copytree(recipe.parent / "runs", storage)
    command = [sys.executable, "-m", "jobs.distill", str(recipe), f"storage={storage}"]
    command += [f"teacher.in_flight={in_flight}", f"teacher.actors={number}"]
    with _cluster(number) as address, _busy() as busy:
        process = subprocess.Popen(
            command,
            env=os.environ | {"RAY_ADDRESS": address, "RAY_AUTH_MODE": "disabled"},
            stdout=subprocess.DEVNULL,
        )
        try:
            begin = _all_at_work(process, storage / "nodes" / "ledger", number) + _SETTLE_S
            time.sleep(max(0.0, begin + _WINDOW_S + 1.0 - time.time()))
            if process.poll() is not None:
                raise RuntimeError(f"the run on {number} nodes ended before it was measured")
        finally:
            # What is bought is in the ledger, and nobody needs the rest.
            process.send_signal(signal.SIGKILL)
            process.wait()
    end = begin + _WINDOW_S
    times = [at for at, _ in _bought(storage / "nodes" / "ledger").values()]
    rate = sum(begin <= at < end for at in times) / _WINDOW_S
    steady = Steady(
        rate, sum(share for at, share in busy if begin <= at < end) / sum(begin <= at < end for at, _ in busy)
    )
    print(
        f"{number} nodes, {in_flight} in flight each: {rate:,.1f} calls/s, {steady.busy:.0%} of the cores", flush=True
    )
    return steady


def _all_at_work(process: "subprocess.Popen[bytes]", ledger: Path, number: int) -> float:
    """When the last of so many callers had its first answer, Unix seconds."""
    give_up = time.monotonic() + _START_S
    while time.monotonic() < give_up and process.poll() is None:
        first: dict[str, float] = {}
        for at, caller in _bought(ledger).values():
            first[caller] = min(at, first.get(caller, at))
        if len(first) == number:
            return max(first.values())
        time.sleep(1.0)
    raise RuntimeError(f"{number} callers did not come to work")


def _bought(ledger: Path) -> dict[str, tuple[float, str]]:
    """When each answer came, Unix seconds, and which caller got it, by key: while files are merged, both hold it."""
    found: dict[str, tuple[float, str]] = {}
    for file in ledger.rglob("[!.]*.parquet"):
        # A file may be merged into another one meanwhile; the window is counted when all have ended.
        with contextlib.suppress(FileNotFoundError, pa.ArrowInvalid):
            columns = pq.read_table(file, columns=["key", "bought_at", "caller"])
            key, at, caller = (columns[name].to_pylist() for name in ("key", "bought_at", "caller"))
            found |= dict(zip(key, zip(at, caller, strict=True), strict=True))
    return found


@contextlib.contextmanager
def _cluster(number: int) -> Iterator[str]:
    """A head without CPUs and so many nodes of one; gives the address."""
    from ray.cluster_utils import Cluster

    small = {"object_store_memory": 80_000_000}
    before = dict(os.environ)
    os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **small})
    try:
        for _ in range(number):
            made.add_node(num_cpus=1, **small)
        yield str(made.address)
    finally:
        made.shutdown()
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def _busy() -> Iterator[list[tuple[float, float]]]:
    """How busy this machine's cores were, sampled for as long as the block: Unix seconds and a share of 1."""
    samples: list[tuple[float, float]] = []
    ended = threading.Event()

    def watch() -> None:
        psutil.cpu_percent()
        while not ended.wait(_SAMPLE_S):
            samples.append((time.time(), psutil.cpu_percent() / 100))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield samples
    finally:
        ended.set()
        watching.join()


def _checked(command: list[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"RAY_AUTH_MODE": "disabled"})
