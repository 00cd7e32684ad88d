"""Whether a step fits on a cluster, by hand-made nodes; hermetic."""

from pathlib import Path

import pytest
from tiny import recipe, recorded
from yaml import safe_load

from cluster.needs import Bundle, Kind, unplaced
from cluster.placement import Work
from jobs.ready import needs_of
from jobs.recipe import Recipe
from jobs.recipe_file import load
from pipeline.errors import BadRecipe

_ANYWHERE: dict[Work, dict[str, str]] = {"cpu": {}, "engines": {}, "training": {}}
_APART: dict[Work, dict[str, str]] = {"cpu": {"work": "cpu"}, "engines": {"work": "engines"}, "training": {"work": "t"}}


def cpus(amount: float) -> Bundle:
    return Bundle("a caller", "cpu", {"CPU": amount})


def test_bundles_share_nodes_as_far_as_they_go() -> None:
    two = [Kind({"CPU": 1.0}, {}, 2)]
    assert unplaced([cpus(0.5)] * 4, two, _ANYWHERE) is None
    assert unplaced([cpus(0.1)] * 10, [Kind({"CPU": 1.0}, {}, 1)], _ANYWHERE) is None
    assert unplaced([cpus(0.6)] * 2, two, _ANYWHERE) is None
    assert unplaced([cpus(0.6)] * 3, two, _ANYWHERE) == cpus(0.6), "two halves that are free on two nodes are no place"


def test_gpus_and_labels_decide() -> None:
    rank = Bundle("a rank", "training", {"CPU": 1.0, "GPU": 1.0})
    kinds = [Kind({"CPU": 64.0}, {"work": "cpu"}, 4), Kind({"CPU": 8.0, "GPU": 8.0}, {"work": "t"}, 1)]
    assert unplaced([rank] * 8, kinds, _APART) is None
    assert unplaced([rank] * 9, kinds, _APART) == rank
    assert unplaced([Bundle("vLLM", "engines", {"GPU": 1.0})], kinds, _APART) is not None
    # A node type that may come counts as often as it may come.
    assert unplaced([rank] * 9, [kinds[0], Kind(kinds[1].resources, {"work": "t"}, 2)], _APART) is None


def test_each_step_says_what_it_needs_at_once(tmp_path: Path) -> None:
    path = recipe(tmp_path, recorded(tmp_path / "problems.jsonl", problems=1))
    made = load(str(path), ["train.workers=[2, 8]", "student.engine.tensor_parallel=2", "student.engine.device=gpu"])
    shown = {job: [[dict(one.resources) for one in group] for group in needs_of(made, job)] for job in _JOBS}
    assert shown["curate"] == shown["choose"] == [[{"CPU": 1.0}]]
    assert shown["distill"] == [[{"CPU": 0.5}, {"CPU": 0.5}]]
    assert shown["train"] == [[{"CPU": 0.8}] * 2], "the fewest ranks that the recipe allows"
    with_student = made.model_copy(update={"distill": _student(made)})
    assert [dict(one.resources) for one in next(iter(needs_of(with_student, "distill")))] == [
        {"CPU": 0.5, "GPU": 1.0},
        {"GPU": 1.0},
        {"CPU": 0.5},
    ]


_JOBS = ("curate", "distill", "choose", "train")


def _student(made: Recipe) -> object:
    (generation,) = made.distill.generations
    return made.distill.model_copy(update={"generations": (generation.model_copy(update={"engine": "student"}),)})


def test_labels_are_for_all_kinds_of_work_or_for_none(tmp_path: Path) -> None:
    """Else Ray Data's own label would hold an engine on a node for calls."""
    path = recipe(tmp_path, recorded(tmp_path / "problems.jsonl", problems=1))
    assert load(str(path)).cluster.nodes.cpu == {}
    apart = "cluster.nodes={cpu: {work: cpu}, engines: {work: e}, training: {work: t}}"
    assert load(str(path), [apart]).cluster.nodes.engines == safe_load("{work: e}")
    with pytest.raises(BadRecipe, match=r"cluster\.nodes.*labels of the same names, or none"):
        load(str(path), ["cluster.nodes.cpu.work=cpu"])
