"""Arms of one run on Ray, up to what they are trained on, and the table; what is done is not done again.

Training and measuring are made done by hand here: their steps' marks and files, as those jobs leave them.
"""

import json
from pathlib import Path

import pytest
import yaml
from rows import trace
from tiny import recipe, recorded, run, tiny_model

from jobs.arms import base_run, load_arms, runs
from jobs.recipe import Recipe
from jobs.recipe_file import load
from jobs.steps import steps_of, store_of
from pipeline.record import Trace, to_table

pytestmark = pytest.mark.ray


def scores(made: Recipe, model: str, right: int) -> None:
    """The scores of a model on six problems, as evaluate leaves them."""
    steps_of(made).evaluate.begin()
    rows = [trace(f"{n}?", verdict="correct" if n < right else "wrong") for n in range(6)]
    store_of(made).write_table(f"scores/sums/{model}/shard-00000.parquet", to_table(rows, Trace))
    store_of(made).write_json("summary/evaluate.json", {"calls": {"bought": 0, "reused": 6, "failed": 0}})
    steps_of(made).evaluate.finish()


def trained(made: Recipe) -> None:
    """What training leaves."""
    steps_of(made).train.begin()
    phases = [{"name": "only", "trained_tokens": 1500, "tokens": 2000, "steps": 3, "loss_last": 1.0}]
    store_of(made).write_json("summary/train.json", {"phases": phases})
    steps_of(made).train.finish()


def test_arms_choose_from_the_traces_of_one_run_and_are_compared(tmp_path: Path, shared_ray: str) -> None:
    tiny_model(tmp_path / "model")
    sums = {"name": "sums", "format": "reasoning_gym", "task": "chain_sum", "size": 6}
    problems = recorded(tmp_path / "problems.jsonl", problems=40)
    path = recipe(tmp_path, problems, evaluate={"benchmarks": {"sums": sums}})
    arms = {"one": {}, "two": {"choose": {"per_problem": 2}}}
    (tmp_path / "arms.yaml").write_text(yaml.safe_dump({"tokens": 1500, "arms": arms}))
    every = runs(load(str(path)), load_arms(str(tmp_path / "arms.yaml")))
    scores(base_run(load(str(path))), "base", 0)
    for right, each in zip((2, 6), every, strict=True):
        trained(each.recipe)
        scores(each.recipe, "student", right)
    ended = run("compare", path, tmp_path / "arms.yaml")
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-4000:]
    made = tmp_path / "runs" / "made"
    found = json.loads((made / "summary" / "compare.json").read_text())
    # Of 40 problems the first draw is right for all, the second for every other one.
    chosen = [json.loads((made / "arms" / arm / "summary" / "choose.json").read_text())["examples"] for arm in arms]
    assert chosen == [40, 60]
    assert [(line["a"], line["b"], line["difference"]) for line in found["paired"]] == [
        ("one", "base", pytest.approx(2 / 6)),
        ("two", "base", 1.0),
        ("two", "one", pytest.approx(4 / 6)),
    ]
    for arm in arms:
        there = {each.name for each in (made / "arms" / arm).iterdir()}
        assert not there & {"problems", "traces", "ledger", "benchmarks"}
    files = {file: file.stat().st_mtime_ns for file in made.rglob("*.parquet")}
    again = run("compare", path, tmp_path / "arms.yaml")
    assert again.returncode == 0, again.stderr
    assert "| two - one | sums | 6 | +66.7 |" in again.stdout
    assert {file: file.stat().st_mtime_ns for file in made.rglob("*.parquet")} == files
