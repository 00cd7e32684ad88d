"""Two arms of one run, from problems to the table; what is done is not done again, and nothing is bought twice."""

import json
from pathlib import Path

import pytest
from tiny import recipe, recorded, run, succeed, tiny_model

pytestmark = pytest.mark.ray

ARMS = """
tokens: 1500
arms:
  once: {train: {phases: [{name: only, generations: [long], epochs: 3}]}}
  twice:
    choose: {per_problem: 2}
    train: {phases: [{name: first, generations: [long], tokens: 600}, {name: then, generations: [long], epochs: 3}]}
"""


def test_two_arms_share_a_runs_traces_and_are_compared_on_the_same_problems(tmp_path: Path, shared_ray: str) -> None:
    tiny_model(tmp_path / "model")
    problems = recorded(tmp_path / "problems.jsonl", problems=40)
    held_out = recorded(tmp_path / "held_out.jsonl", problems=60).read_text().splitlines()[40:]
    (tmp_path / "held_out.jsonl").write_text("\n".join(held_out) + "\n")
    sums = {
        "name": "held",
        "format": "jsonl",
        "path": str(tmp_path / "held_out.jsonl"),
        "fields": {"prompt": "question"},
    }
    evaluate = {"benchmarks": {"sums": sums}, "sampling": {"temperature": 0.0, "max_tokens": 8}}
    path = recipe(tmp_path, problems, evaluate=evaluate)
    (tmp_path / "arms.yaml").write_text(ARMS)
    succeed("compare", path, tmp_path / "arms.yaml")
    made = tmp_path / "runs" / "made"
    found = json.loads((made / "summary" / "compare.json").read_text())
    assert list(found["arms"]) == ["once", "twice"]
    assert [(line["a"], line["b"], line["problems"]) for line in found["paired"]] == [
        ("once", "base", 20),
        ("twice", "base", 20),
        ("twice", "once", 20),
    ]
    assert [phase["name"] for phase in found["arms"]["twice"]["runs"][0]["phases"]] == ["first", "then"]
    for arm in ("once", "twice"):
        assert not (made / "arms" / arm / "traces").exists()
        assert not (made / "arms" / arm / "ledger").exists()
        assert list((made / "arms" / arm / "model").glob("*.safetensors"))
    before = {file: file.stat().st_mtime_ns for file in made.rglob("*.parquet")}
    again = run("compare", path, tmp_path / "arms.yaml")
    assert again.returncode == 0, again.stderr
    assert "twice - once" in again.stdout
    assert {file: file.stat().st_mtime_ns for file in made.rglob("*.parquet")} == before
