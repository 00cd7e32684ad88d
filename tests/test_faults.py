"""Distilling while its processes are killed at seeded moments: the same traces, nothing lost, no budget overspent.

`make faults N=300 SEED=1` makes more of the same kills.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from faults import CALLERS, IN_FLIGHT, Faults, Kill, cluster, engine_cores, kills_of
from plain import content, without_ray
from ray.cluster_utils import Cluster
from standin_lives import Teacher
from tiny import recipe, recorded, start, succeed, tiny_model

from pipeline.standin.settings import StandinSettings

pytestmark = pytest.mark.ray

_PROBLEMS, _DRAWS, _MAX_TOKENS = 300, 2, 64
_CALLS = _PROBLEMS * _DRAWS
_ROUND = 30
_USD_PER_TOKEN = 1e-6


@dataclass(frozen=True)
class Wanted:
    """A curated run to distil, and what must come of it however it is broken off."""

    curated: Path
    recipe: Path
    standin: StandinSettings
    teacher: Teacher
    traces: list[tuple[object, ...]]
    cost_usd: float
    worst_usd: float
    """The most that one call can cost."""


@pytest.fixture(scope="module")
def rays() -> Iterator[Cluster]:
    """The cluster that is killed piece by piece."""
    with cluster() as made:
        yield made


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> Wanted:
    """The run without Ray and without a kill."""
    folder = tmp_path_factory.mktemp("unbroken")
    problems = recorded(folder / "problems.jsonl", problems=_PROBLEMS)
    answers = StandinSettings(answers="replay", path=str(problems), replies=("replies.a", "replies.b"))
    teacher = Teacher(answers.model_copy(update={"latency_s": 0.5, "latency_sigma": 0.5}))
    path = recipe(
        folder,
        problems,
        shards=24,
        teacher={
            "model": "recorded",
            "base_url": teacher.base_url,
            "served_by": "recorded answers",
            "in_flight": IN_FLIGHT,
            "actors": CALLERS,
            "prompt_usd_per_mtok": _USD_PER_TOKEN * 1e6,
            "completion_usd_per_mtok": _USD_PER_TOKEN * 1e6,
        },
    )
    succeed("curate", path)
    quick = Teacher(answers)
    quick.start()
    try:
        traces = without_ray(path, folder, quick.base_url)
        cost = _usd(quick.billed)
    finally:
        quick.kill()
    asked = [row for file in (folder / "plain").rglob("[!.]*.parquet") for row in pq.read_table(file).to_pylist()]
    # A token is at least a byte, and a template may add 64 of them.
    worst = max(len(row["messages"].encode()) for row in asked) + 64 + _MAX_TOKENS
    return Wanted(folder / "runs", path, answers, teacher, traces, cost, worst * _USD_PER_TOKEN)


@pytest.fixture
def faults(rays: Cluster, wanted: Wanted, request: pytest.FixtureRequest) -> Iterator[Faults]:
    """Hands on everything, and a teacher that serves."""
    made = Faults(rays, wanted.teacher, wanted.recipe, random.Random(request.config.getoption("--seed")))
    try:
        yield made
    finally:
        made.close()


def test_kills_lose_only_the_calls_in_flight_and_change_no_trace(
    faults: Faults, wanted: Wanted, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    rng = random.Random(request.config.getoption("--seed"))
    hits: Counter[str] = Counter()
    rounds = 0
    while hits.total() < request.config.getoption("--kills"):
        folder = _copy(wanted, tmp_path / f"round{rounds}")
        kills = kills_of(rng, min(_ROUND, request.config.getoption("--kills") - hits.total()), calls=_CALLS)
        started = time.monotonic()
        _check_round(faults, wanted, folder, kills)
        hits += faults.tally.hits
        rounds += 1
        print(f"round {rounds}: {faults.tally}, {time.monotonic() - started:.0f} s")
    print(f"{hits.total()} kills: {dict(hits)}")


def _check_round(faults: Faults, wanted: Wanted, folder: Path, kills: list[Kill]) -> None:
    """One run through some kills, and everything that must hold after it."""
    faults.teacher.restart()
    budget = wanted.cost_usd + (CALLERS * IN_FLIGHT + sum(kill.most_open for kill in kills)) * wanted.worst_usd
    ended = faults.distil(folder, kills, f"budget_usd={budget!r}")
    said = f"{kills}\n{faults.tally}\n{ended.stdout[-2000:]}{ended.stderr[-4000:]}"
    assert ended.returncode == 0, said
    assert content(folder) == wanted.traces, said
    again = faults.teacher.billed["requests"] - _CALLS
    print(f"bought again {again} of at most {faults.tally.in_flight}")
    assert 0 <= again <= faults.tally.in_flight, said
    bill, books = _usd(faults.teacher.billed), _books(folder)
    print(f"bill {bill:.6f} books {books:.6f} budget {budget:.6f} alone {wanted.cost_usd:.6f}")
    assert bill <= books <= budget, said
    summary = json.loads((folder / "runs" / "made" / "summary" / "distill.json").read_text())
    assert summary["traces"] == summary["calls"]["bought"] + summary["calls"]["reused"] == _CALLS, said
    assert summary["torn_files"] == 0, said
    assert not list((folder / "runs" / "made" / "traces").glob("*/*.parquet")), said


def _copy(wanted: Wanted, folder: Path) -> Path:
    shutil.copytree(wanted.curated, folder / "runs")
    return folder


def _answers(folder: Path) -> int:
    """Answers in a run's ledger; files that are merged meanwhile count in the next look."""
    count = 0
    for file in (folder / "runs" / "made" / "ledger").rglob("[!.]*.parquet"):
        with contextlib.suppress(FileNotFoundError):
            count += pq.read_metadata(file).num_rows
    return count


def _usd(billed: Counter[str]) -> float:
    return (billed["prompt_tokens"] + billed["completion_tokens"]) * _USD_PER_TOKEN


def _books(folder: Path) -> float:
    """What the run believes to have spent at most: the ledger's lines, and more where calls were left open."""
    charges: Counter[str] = Counter()
    for file in (folder / "runs" / "made" / "ledger").rglob("[!.]*.parquet"):
        for row in pq.read_table(file).to_pylist():
            charges[row["caller"]] += row["cost_usd"] + row["unsure_usd"]
    left_open = json.loads((folder / "runs" / "made" / "ledger" / "open.json").read_text())
    return sum(max(charges[caller], left_open.get(caller, 0.0)) for caller in {*charges, *left_open})


def test_a_budget_holds_through_kills_and_more_of_it_finishes_the_run(
    faults: Faults, wanted: Wanted, tmp_path: Path
) -> None:
    folder = _copy(wanted, tmp_path)
    # The kills come by what is billed: a quick teacher only makes the rest of the run shorter.
    faults.teacher.restart(latency_s=0.15)
    budget = wanted.cost_usd / 3
    kills = [Kill("keeper", 15, 0.0), Kill("driver", 30, 0.2), Kill("keeper", 45, 0.3)]
    # One caller of four calls: what is lost with the driver must leave something to buy from.
    few = ("teacher.actors=1", "teacher.in_flight=4")
    stopped = faults.distil(folder, kills, *few, f"budget_usd={budget!r}")
    said = f"{faults.tally}\n{stopped.stderr[-4000:]}"
    assert faults.tally.hits.total() == len(kills), said
    assert stopped.returncode == 1, said
    last = stopped.stderr.strip().splitlines()[-1]
    assert last.startswith(f"error: budget_usd={budget:g} is reached"), said
    assert "Traceback" not in stopped.stderr, said
    assert _usd(faults.teacher.billed) <= _books(folder) <= budget, said
    # Only the calls that were open when the driver was killed, and the one too many, are not bought from it.
    assert _usd(faults.teacher.billed) >= budget - (4 + 2) * wanted.worst_usd, said
    enough = wanted.cost_usd + (4 + CALLERS * IN_FLIGHT) * wanted.worst_usd
    ended = faults.distil(folder, [], f"budget_usd={enough!r}")
    assert ended.returncode == 0, ended.stderr
    assert content(folder) == wanted.traces
    assert _usd(faults.teacher.billed) <= _books(folder) <= enough


@pytest.mark.vllm
def test_the_death_of_an_engine_is_survived_inside_the_run(rays: Cluster, tmp_path: Path) -> None:
    tiny_model(tmp_path / "model")
    student = {"model": str(tmp_path / "model")}
    student["engine"] = {"device": "cpu", "dtype": "float32", "max_model_len": 512, "in_flight": 8}
    student["engine"] |= {"compile": False, "cpus": 0.5, "kv_cache_gib": 1}
    drawn = {"name": "long", "engine": "student", "draws": 2, "sampling": {"max_tokens": 100}}
    path = recipe(
        tmp_path,
        recorded(tmp_path / "problems.jsonl", problems=30),
        shards=2,
        student=student,
        distill={"generations": [drawn]},
        cluster={"address": rays.address},
    )
    succeed("curate", path)
    shutil.copytree(tmp_path / "runs", tmp_path / "broken" / "runs")
    succeed("distill", path)
    distilling = start("distill", path, f"storage={tmp_path / 'broken' / 'runs'}")
    try:
        while _answers(tmp_path / "broken") < 20:
            assert distilling.poll() is None, distilling.communicate()
            time.sleep(0.05)
        victims = engine_cores(rays)
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        # Most of what it was to draw was still to come.
        assert victims
        assert _answers(tmp_path / "broken") < 50
        _, err = distilling.communicate(timeout=300)
    finally:
        distilling.kill()
    assert distilling.returncode == 0, err[-4000:]
    assert content(tmp_path / "broken") == content(tmp_path)
