"""Which checkpoints are measured while training goes on, in what order, and what is left of them."""

import threading
from pathlib import Path
from typing import Any

import pytest
from tiny import recipe, recorded

from cluster.training.plan import PhasePlan
from cluster.training.told import step_folder
from jobs.checkpoints import Checkpoints, measured, watching
from jobs.recipe import Recipe
from jobs.recipe_file import load
from jobs.steps import store_of
from pipeline.errors import Stop

RATES = {10: 0.25, 20: 0.75, 30: 0.75, 40: 0.5}


@pytest.fixture
def made(tmp_path: Path) -> tuple[Recipe, PhasePlan]:
    (tmp_path / "model").mkdir()
    problems = recorded(tmp_path / "problems.jsonl", problems=2)
    source = {"name": "held", "format": "jsonl", "path": str(problems), "licence": "CC0"}
    of = load(recipe(tmp_path, problems, evaluate={"benchmarks": {"held": source}}), [])
    export = "checkpoints/c-p/export"
    return of, PhasePlan(store_of(of), "m", "one", "packs/p", None, export, of.train, of.train.phases[0], 1)


def exported(plan: PhasePlan, *steps: int) -> None:
    """What ranks leave of a model that is to be measured."""
    for step in steps:
        folder = step_folder(plan, step)
        plan.store.write_json(f"{folder}/model/config.json", {"step": step})
        plan.store.write_json(f"{folder}/exported.json", {"step": step})


def there(plan: PhasePlan) -> list[int]:
    """The steps whose weights are there."""
    return [step for step in RATES if plan.store.exists(f"{step_folder(plan, step)}/model")]


class Scores:
    """Stands in for an engine: the pass@1 of RATES, once it is let."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.let = threading.Event()

    def __call__(self, step: int) -> dict[str, Any]:
        self.asked.append(step)
        assert self.let.wait(30)
        if step == 10:
            raise RuntimeError("no memory\nfor this model")
        return {"held": {"problems": 4, "pass@1": RATES[step], "ci95": (0.1, 0.9)}}


def all_measured(made: tuple[Recipe, PhasePlan], scores: Scores) -> list[tuple[str, int]]:
    noted: list[tuple[str, int]] = []
    waiting = Checkpoints(*made, is_training=False, score=scores)
    waiting.start(lambda event, step, _: noted.append((event, step)))
    scores.let.set()
    waiting.finish()
    return noted


def test_the_newest_is_measured_first_the_best_is_kept_and_a_failure_is_noted(
    made: tuple[Recipe, PhasePlan], capsys: pytest.CaptureFixture[str]
) -> None:
    _, plan = made
    exported(plan, 20, 10, 30, 40)
    scores = Scores()
    noted = all_measured(made, scores)
    assert scores.asked == [40, 30, 20, 10, 10], "one that fails is tried once more"
    assert noted == [*(("evaluation", step) for step in (40, 30, 20)), ("evaluation_failed", 10)]
    assert there(plan) == [20], "of two that are equally good the earlier"
    assert "warning: the model of step 10 could not be measured: for this model" in capsys.readouterr().err
    entries = measured(*made)
    assert [(entry["step"], entry.get("pass@1"), "model" in entry) for entry in entries] == [
        (10, None, False),
        (20, 0.75, True),
        (30, 0.75, False),
        (40, 0.5, False),
    ]
    again = Scores()
    assert (all_measured(made, again), again.asked) == ([], [])


def test_what_a_lost_driver_left_is_measured_once_by_the_next(made: tuple[Recipe, PhasePlan]) -> None:
    _, plan = made
    exported(plan, 30, 40)
    # Written halfway when the ranks were lost.
    plan.store.write_json(f"{step_folder(plan, 20)}/model/config.json", {})
    plan.store.write_json(f"{step_folder(plan, 40)}/scores.json", {"step": 40, "failed": None, "benchmarks": {}})
    scores = Scores()
    all_measured(made, scores)
    assert scores.asked == [30]


def test_of_too_many_the_oldest_are_given_up_and_said_so(
    made: tuple[Recipe, PhasePlan], capsys: pytest.CaptureFixture[str]
) -> None:
    of, plan = made
    watch = of.train.watch.model_copy(update={"evaluate_waiting": 2})
    train = of.train.model_copy(update={"watch": watch})
    plan = PhasePlan(plan.store, "m", "one", "packs/p", None, plan.export_to, train, plan.phase, 1)
    exported(plan, 10, 20, 30, 40)
    waiting = Checkpoints(of, plan, is_training=True, score=Scores())
    waiting.look()
    assert waiting.waiting() == [30, 40]
    assert there(plan) == [30, 40]
    assert capsys.readouterr().err.count("newer checkpoints waited") == 2


def test_a_recipe_without_benchmarks_is_refused_before_training(made: tuple[Recipe, PhasePlan]) -> None:
    of, plan = made
    train = of.train.model_copy(update={"watch": of.train.watch.model_copy(update={"evaluate_steps": 5})})
    bare = of.model_copy(update={"evaluate": of.evaluate.model_copy(update={"benchmarks": {}})})
    plan = PhasePlan(plan.store, "m", "one", "packs/p", None, plan.export_to, train, plan.phase, 1)
    with pytest.raises(Stop, match=r"needs held-out problems: add evaluate\.benchmarks"), watching(bare, plan):
        pass
