"""What jobs.status says of a run's folder; hermetic: the folder is made by hand."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tiny import ROOT

from pipeline.store import Store

_FIGURES = {
    "parts": 4,
    "parts_done": 1,
    "rows/correct": 30,
    "rows/wrong": 10,
    "verifier_kills": 2,
    "requests/teacher/answered": 41,
    "requests/teacher/limited": 3,
    "requests_open/teacher": 7,
    "requests_waiting/teacher": 5,
    "requests_limit/teacher": 8,
    "tokens/reply": 900,
    "budget_usd/settled": 1.5,
    "budget_usd/reserved": 0.25,
    "budget_usd/ceiling": 5.0,
    "kv_cache_used": 0.5,
    "engine_draws": 3,
}


def said(run: Path, *arguments: str) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "jobs.status", str(run), *arguments]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=100)
    return ended.returncode, ended.stdout, ended.stderr


def run_with(folder: Path, *, beat: float | None, summary: dict[str, Any] | None = None) -> Path:
    """A run that a command of another machine works on, which gave its last sign of life `beat` seconds ago."""
    store, now = Store(str(folder)), time.time()
    if beat is not None:
        held = {"command": "jobs.run", "machine": "head-1", "process": 77, "started": 1.0, "beat": now - beat}
        store.write_json("lock.json", held)
    step = {"step": "distill", "line": "shards 1/4", "figures": _FIGURES, "started": now - 10}
    status = {"command": "jobs.run", "at": now, "job": "made-run-1", "dashboard": None, "steps": [step]}
    store.write_json("status.json", status)
    store.write_json("summary/curate.json", summary or {"in": 50, "kept": 44})
    return folder


def test_a_run_at_work_shows_who_and_what(tmp_path: Path) -> None:
    status, out, err = said(run_with(tmp_path / "made", beat=3), "--once")
    assert (status, err) == (0, "")
    lines = {line.split("  ")[0].strip(): line for line in out.splitlines()}
    assert "jobs.run on head-1, process 77, Ray job made-run-1, sign of life" in out
    assert "done  in 50  kept 44" in lines["curate"]
    assert "shards 1/4" in lines["distill"]
    assert "correct 30  wrong 10" in out
    assert "judges killed 2" in out
    assert "answered 41  limited 3  open 7  waiting 5  limit 8" in out
    assert "settled $1.50  reserved $0.2500  ceiling $5.00" in out
    assert "draws 3  waiting 0  KV cache 50%" in out
    rate = float(out.partition("wrong 10  (")[2].partition("/s)")[0])
    assert 3.0 <= rate <= 4.1, "40 rows in the ten seconds since the step began"


def test_a_command_without_a_sign_of_life_is_said_loudly(tmp_path: Path) -> None:
    status, out, _ = said(run_with(tmp_path / "made", beat=600))
    assert status == 3
    assert "NO SIGN OF LIFE for 60" in out
    assert "shards 1/4" not in out, "what it did ten minutes ago is not what it does"


def test_a_run_that_stopped_half_way_is_not_fine(tmp_path: Path) -> None:
    half = run_with(tmp_path / "half", beat=None, summary={"in": 50, "kept": 44, "complete": False})
    status, out, _ = said(half)
    assert (status, "stopped half way" in out, "no command works on it" in out) == (3, True, True)
    status, out, _ = said(run_with(tmp_path / "whole", beat=None))
    assert status == 0


def test_json_has_the_same_and_a_wrong_folder_is_one_line(tmp_path: Path) -> None:
    status, out, _ = said(run_with(tmp_path / "made", beat=3), "--json")
    told = json.loads(out)
    assert (status, told["works"], told["job"]) == (0, True, "made-run-1")
    assert told["steps"][0]["figures"] == _FIGURES
    status, out, err = said(tmp_path / "none")
    assert (status, out) == (1, "")
    assert err == f"error: {tmp_path}/none is no run: give <storage>/<name> of its recipe, such as runs/demo\n"
    assert os.listdir(tmp_path) == ["made"], "looking makes nothing"
