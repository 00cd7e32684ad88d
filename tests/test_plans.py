"""The worst cost that --dry-run says, against sums made by hand."""

import json
from pathlib import Path

import pytest

from jobs.curate import plan as curate_plan
from jobs.distill import plan as distill_plan
from jobs.evaluate import plan as evaluate_plan
from jobs.recipe import Recipe
from jobs.recipe_file import load

# 10 problems of kind math and 5 of kind judge, 2 draws each: 30 answers of a model, 10 of them to kind judge.
TEXT = """
name: priced
budget_usd: 7
sources:
  - {name: sums, format: reasoning_gym, task: chain_sum, size: 4}
teacher: {model: t, base_url: "https://t.example.com/v1", prompt_usd_per_mtok: 1, completion_usd_per_mtok: 10}
student: {model: SmolLM2-135M-Instruct}
distill:
  generations:
    - {name: long, engine: teacher, draws: 2, sampling: {max_tokens: 1000}}
train:
  window: 1024
  lr: 1.0e-4
  phases:
    - {name: distill, generations: [long]}
judge: {engine: other, draws: 3, asks: judge_kind, sampling: {max_tokens: 2000}}
evaluate:
  benchmarks:
    sums: {name: sums, format: reasoning_gym, task: chain_sum, size: 10}
    open: {name: open, format: jsonl, path: OPEN, kind: judge}
  models: [base, student, third]
  teachers:
    other: {model: o, base_url: "https://o.example.com/v1", prompt_usd_per_mtok: 2, completion_usd_per_mtok: 20}
    third: {model: p, base_url: "https://p.example.com/v1", prompt_usd_per_mtok: 5, completion_usd_per_mtok: 50}
  draws: 2
  sampling: {max_tokens: 1000}
  thought_budgets: [100, 200]
estimate: {prompt_tokens: 1000}
"""
# A judge's prompt is reckoned as the problem's tokens and 12,000 more.
JUDGEMENT = (13_000 * 2 + 2_000 * 20) / 1e6
# base and student have a score of their own and two with budgets, third can't go on from a prefix.
SCORES = 3 + 3 + 1


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    rows = [{"problem": f"Why {n}?", "answer": f"because {n}"} for n in range(5)]
    (tmp_path / "open.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = tmp_path / "priced.yaml"
    path.write_text(TEXT.replace("OPEN", str(tmp_path / "open.jsonl")))
    return str(path)


def told(recipe: Recipe) -> dict[str, str]:
    return dict(evaluate_plan(recipe))


def usd(value: float) -> str:
    return f"${value:,.2f}" if value >= 1 else f"${value:.4f}"


def test_each_teacher_and_the_judge_have_a_line_of_their_own_and_there_is_a_total(recipe: str) -> None:
    lines = told(load(recipe))
    third = 30 * (1_000 * 5 + 1_000 * 50) / 1e6
    judge = 10 * SCORES * 3 * JUDGEMENT
    assert lines["third"] == f"up to 30 calls, at most {usd(third)}"
    assert lines["judge"] == f"up to 210 calls of other, at most {usd(judge)}"
    assert lines["worst cost"].startswith(f"{usd(third + judge)} in all")
    assert lines["worst cost"].endswith("; budget_usd stops it at $7.00")
    assert "other" not in lines


def test_whose_answers_the_judge_is_asked_about_is_what_it_costs(recipe: str) -> None:
    for asks in ("undecided", "all"):
        calls = 30 * SCORES * 3
        assert told(load(recipe, [f"judge.asks={asks}"]))["judge"].startswith(f"up to {calls} calls of other")
    plain = told(load(recipe, ["evaluate.benchmarks.open.kind=text"]))
    assert plain["judge"] == "up to 0 calls of other, at most $0.00"
    assert plain["worst cost"].startswith("$1.65 in all")
    assert "judge" not in told(load(recipe, ["judge=null", "evaluate.benchmarks.open.kind=text"]))


def test_a_teacher_that_goes_on_from_a_prefix_is_asked_twice_for_each_budget(recipe: str) -> None:
    lines = told(load(recipe, ["evaluate.teachers.third.continues=prefix", "evaluate.answer_tokens=300"]))
    prompts = 1_000 + (2 * 1_000 + 100) + (2 * 1_000 + 200)
    completions = 1_000 + (100 + 300) + (200 + 300)
    worst = 30 * (prompts * 5 + completions * 50) / 1e6
    assert lines["third"] == f"up to 150 calls, at most {usd(worst)}"
    assert lines["judge"].startswith(f"up to {10 * 9 * 3} calls")


def test_an_unknown_price_or_size_makes_the_total_unknown(recipe: str) -> None:
    unpriced = ["budget_usd=null", "evaluate.teachers.other.prompt_usd_per_mtok=null"]
    lines = told(load(recipe, unpriced))
    assert lines["judge"] == "up to 210 calls of other, at an unknown price"
    assert lines["worst cost"].startswith("unknown: set evaluate.teachers.other.prompt_usd_per_mtok")
    hub = ["evaluate.benchmarks.sums={name: s, format: hf, path: a/b}"]
    assert told(load(recipe, hub))["worst cost"].startswith("unknown: the benchmarks' sizes")
    # The judge is not asked about it, and nobody else costs anything.
    assert told(load(recipe, [*hub, "evaluate.models=[base]"]))["judge"].startswith(f"up to {10 * 3 * 3} calls")


def test_distilling_says_the_judge_costs_nothing_where_it_is_not_asked(recipe: str) -> None:
    lines = dict(distill_plan(load(recipe)))
    assert lines["judge"] == "up to 0 calls of other, at most $0.00"
    assert lines["worst cost"].startswith(f"{usd(8 * (1_000 * 1 + 1_000 * 10) / 1e6)} in all")
    lines = dict(distill_plan(load(recipe, ["judge.asks=all"])))
    assert lines["judge"] == f"up to 24 calls of other, at most {usd(24 * JUDGEMENT)}"


def test_rating_problems_is_reckoned_with_the_judge_of_its_answers(recipe: str) -> None:
    asked = ["difficulty={engine: teacher, draws: 3, sampling: {max_tokens: 500}}"]
    rated = 4 * 3 * (1_000 * 1 + 500 * 10) / 1e6
    lines = dict(curate_plan(load(recipe, asked)))
    assert "judge" not in lines
    assert lines["worst cost"].startswith(f"{usd(rated)} in all")
    lines = dict(curate_plan(load(recipe, [*asked, "judge.asks=all"])))
    judge = 4 * 3 * 3 * JUDGEMENT
    assert lines["judge"] == f"up to 36 calls of other, at most {usd(judge)}"
    assert lines["worst cost"].startswith(f"{usd(rated + judge)} in all")
