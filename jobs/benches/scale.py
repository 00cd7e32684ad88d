"""Memory and time of jobs.distill as the run grows: the same shards, ten times as many.

Every answer comes from the canned server at once, so that the run is all ours: Ray Data's actors, ledger, verifier,
traces. Memory is each process's resident set, sampled twice a second and grouped by what the process is called.
"""

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import psutil
import yaml

from jobs.benches.canned import canned
from jobs.benches.result import Result

_CALLS = (20_000, 200_000)
_DRAWS, _SHARD_CALLS = 10, 2000
_GROWTH, _SLOWER = 1.5, 1.25
_RESTART_S = 10.0 + _CALLS[1] / 100_000
_SAMPLE_S = 0.5


def scale() -> list[Result]:
    """A small run, a large one, and the large one's command again."""
    with tempfile.TemporaryDirectory() as folder, canned() as base_url:
        recipes = [_recipe(Path(folder), base_url, calls) for calls in _CALLS]
        small, large = (_distilled(recipe) for recipe in recipes)
        again = _distilled(recipes[1])
        assert again.calls["bought"] == 0, "a finished run bought again"
    grown, before, name = _most_grown(small.peak_bytes, large.peak_bytes)
    slow, quick = (
        seconds / calls * 1000 for seconds, calls in ((large.seconds, _CALLS[1]), (small.seconds, _CALLS[0]))
    )
    peers = (f"{name} at {_CALLS[0]:,} calls", f"{_CALLS[0]:,} calls")
    return [
        Result("scale", grown / 2**20, before / 2**20, peers[0], "MiB at most", before / grown, goal=1 / _GROWTH),
        Result("scale_time", slow, quick, peers[1], "s for 1,000 calls", quick / slow, goal=1 / _SLOWER),
        Result("scale_restart", again.wall_s, _RESTART_S, "the goal", "s", _RESTART_S / again.wall_s, goal=1.0),
    ]


class _Distilled:
    """What a command came to: its summary's calls and seconds, seconds by the wall, and bytes at most by process."""

    def __init__(self, summary: Mapping[str, Any], wall_s: float, peak_bytes: dict[str, int]) -> None:
        self.calls: Mapping[str, int] = summary["calls"]
        self.seconds: float = summary["seconds"]
        self.wall_s = wall_s
        self.peak_bytes = peak_bytes


def _recipe(folder: Path, base_url: str, calls: int) -> Path:
    problems = calls // _DRAWS
    lines = (orjson.dumps({"question": f"What is {n} - {n} + 3?", "answer": "3"}) for n in range(problems))
    source = folder / f"problems-{calls}.jsonl"
    source.write_bytes(b"\n".join(lines))
    fields = {"prompt": "question", "answer": "answer"}
    sampling = {"max_tokens": 1000}
    recipe = {
        "name": f"scale-{calls}",
        "storage": str(folder / "runs"),
        "shards": calls // _SHARD_CALLS,
        "cluster": {"local_cpus": 2, "dashboard": False},
        "sources": [{"name": "made", "format": "jsonl", "path": str(source), "fields": fields, "licence": "CC0-1.0"}],
        "teacher": {"model": "canned", "base_url": base_url, "served_by": "bench", "stream": False, "in_flight": 256},
        "student": {"model": "SmolLM2-135M-Instruct"},
        "distill": {"generations": [{"name": "long", "engine": "teacher", "draws": _DRAWS, "sampling": sampling}]},
        "train": {"phases": [{"name": "distill", "generations": ["long"]}]},
    }
    path = folder / f"{calls}.yaml"
    path.write_text(yaml.safe_dump(recipe))
    subprocess.run([sys.executable, "-m", "jobs.curate", str(path)], check=True, stdout=subprocess.DEVNULL)
    return path


def _distilled(recipe: Path) -> _Distilled:
    started = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "jobs.distill", str(recipe)], stdout=subprocess.DEVNULL)
    peak: dict[str, int] = {}
    ended = threading.Event()
    watch = threading.Thread(target=_watch, args=(psutil.Process(process.pid), peak, ended))
    watch.start()
    status = process.wait()
    wall_s = time.monotonic() - started
    ended.set()
    watch.join()
    if status:
        raise subprocess.CalledProcessError(status, process.args)
    name = yaml.safe_load(recipe.read_text())["name"]
    summary = orjson.loads((recipe.parent / "runs" / name / "summary" / "distill.json").read_bytes())
    return _Distilled(summary, wall_s, peak)


def _watch(root: psutil.Process, peak: dict[str, int], ended: threading.Event) -> None:
    while not ended.wait(_SAMPLE_S):
        try:
            processes = [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        for process in processes:
            try:
                name = _name(process)
                peak[name] = max(peak.get(name, 0), process.memory_info().rss)
            except (psutil.NoSuchProcess, psutil.ZombieProcess):
                continue


def _name(process: psutil.Process) -> str:
    """What Ray calls a worker (ray::MapWorker...), else the program's name."""
    title = (process.cmdline() or [""])[0]
    return title.split("(")[0] if title.startswith("ray::") else process.name()


def _most_grown(small: dict[str, int], large: dict[str, int]) -> tuple[int, int, str]:
    """Bytes in the large run and the small one of what grew the most, and its name."""
    both = [(large[name], small[name], name) for name in small if name in large]
    return max(both, key=lambda each: each[0] / each[1])
