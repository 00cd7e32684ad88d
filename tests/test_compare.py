"""Comparisons: what an arm may change, equal tokens, where arms lie, and the paired figures against plain numpy."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from rows import trace
from tiny import ROOT, recorded
from tiny import recipe as tiny_recipe

from jobs import compare
from jobs.arms import Arms, base_run, load_arms, runs, split
from jobs.compared import compared, markdown, unequal
from jobs.recipe import Recipe
from jobs.recipe_file import load
from jobs.steps import steps_of, store_of
from pipeline.errors import BadRecipe, Stop
from pipeline.record import Trace, to_table
from pipeline.scores.arms import holm
from pipeline.store import Store
from pipeline.training.settings import Phase


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """A recipe with two generations and two benchmarks; nothing of it has been made."""
    held_out = {"format": "reasoning_gym", "task": "chain_sum", "size": 6}
    long = {"name": "long", "engine": "teacher", "draws": 2, "sampling": {"max_tokens": 64}}
    self = {"name": "self", "engine": "student", "sampling": {"max_tokens": 64}}
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    path = tiny_recipe(
        tmp_path,
        recorded(tmp_path / "problems.jsonl", problems=3),
        distill={"generations": [long, self]},
        evaluate={"benchmarks": {name: {"name": name, **held_out} for name in ("more", "sums")}},
    )
    return load(str(path))


def arms(folder: Path, **values: Any) -> Arms:
    (folder / "arms.yaml").write_text(yaml.safe_dump(values))
    return load_arms(str(folder / "arms.yaml"))


def phase(name: str, tokens: int | None = None) -> Phase:
    return Phase(name=name, generations=("long",), tokens=tokens)


def test_only_choose_and_train_may_differ_between_arms(tmp_path: Path, recipe: Recipe) -> None:
    for section in ("distill", "sources", "verify", "seed", "evaluate", "shards"):
        with pytest.raises(
            BadRecipe, match=rf"arms\.x: {section} can't differ between arms.*only choose and train can"
        ):
            arms(tmp_path, arms={"x": {section: 1}})
    for values, said in (
        ({"arms": {"x": {}}, "seed": 3}, "unknown key seed; did you mean seeds"),
        ({"arms": {}}, "arms: must have at least 1 item"),
        ({"arms": {"base": {}}}, "'base' can't be an arm's name"),
        ({"arms": {"a/b": {}}}, "'a/b' can't be an arm's name"),
        ({"arms": {"x": {}}, "tokens": 0}, "tokens=0: must be above 0"),
        ({"arms": {"x": {}}, "seeds": [1, 1]}, "seeds.*must all differ"),
    ):
        with pytest.raises(BadRecipe, match=said):
            arms(tmp_path, **values)
    for over, said in (
        ({"train": {"lrr": 1}}, "arm x: unknown key train.lrr; did you mean train.lr"),
        ({"choose": {"per_problem": 0}}, "arm x: choose.per_problem=0: must be above 0"),
        ({"train": {"phases": [{"name": "p", "generations": ["other"]}]}}, "arm x: .*no generation 'other'"),
    ):
        with pytest.raises(BadRecipe, match=said):
            runs(recipe, arms(tmp_path, arms={"x": over}))
    bare = recipe.model_copy(update={"evaluate": recipe.evaluate.model_copy(update={"benchmarks": {}})})
    one = arms(tmp_path, arms={"x": {}})
    outside = Phase(name="only", dataset=str(tmp_path))
    alone = recipe.model_copy(
        update={
            "sources": (),
            "distill": recipe.distill.model_copy(update={"generations": ()}),
            "train": recipe.train.model_copy(update={"phases": (outside,)}),
        }
    )
    with pytest.raises(BadRecipe, match=r"arm x: the recipe has no sources to choose from"):
        compare.plan(alone, arms=arms(tmp_path, arms={"x": {"choose": {"per_problem": 1}}}))
    with pytest.raises(BadRecipe, match="nothing to compare on"):
        compare.plan(bare, arms=one)


def test_arms_take_problems_traces_and_ledger_of_the_run_and_have_the_rest_to_themselves(
    tmp_path: Path, recipe: Recipe
) -> None:
    run = tmp_path / "runs" / "made"
    over = {"choose": {"per_problem": 2}, "train": {"lr": 0.5, "phases": [{"name": "p", "generations": ["self"]}]}}
    found = runs(recipe, arms(tmp_path, arms={"x": over, "y": {}}, seeds=[1, 2]))
    assert [(one.arm, one.seed, one.recipe.name) for one in found] == [
        ("x", 1, "x-seed1"),
        ("x", 2, "x-seed2"),
        ("y", 1, "y-seed1"),
        ("y", 2, "y-seed2"),
    ]
    assert [one.recipe.training_seed for one in found] == [1, 2, 1, 2]
    assert recipe.training_seed == recipe.seed == found[0].recipe.seed
    first = found[0].recipe
    assert (first.choose.per_problem, first.train.lr, first.train.window) == (2, 0.5, 512)
    assert first.evaluate.models == ("student",)
    assert base_run(recipe).evaluate.models == ("base",)
    shared, own = Store(str(run)), store_of(first)
    for name in ("traces/shard-00000.parquet", "problems/a", "ledger/b/c", "benchmarks/d", "summary/distill.json"):
        shared.write_bytes(name, name.encode())
        assert own.read_text(name) == name
        assert own.address(name) == str(run / name)
    for name in ("dataset/train-00000.parquet", "model/x", "scores/x", "packs/x", "summary/train.json", "tracesx"):
        own.write_bytes(name, b"mine")
        assert (run / "arms" / "x-seed1" / name).read_bytes() == b"mine"
        assert not shared.exists(name)
    assert own.names_below("ledger") == ["ledger/b/c"]
    # What another run's folder holds is that run's to make.
    with pytest.raises(Stop, match=r"traces/ is shared with .*run jobs\.distill there"):
        steps_of(first).distill.begin()
    assert shared.exists("traces/shard-00000.parquet")
    steps = [steps_of(one) for one in (recipe, first, found[1].recipe, found[2].recipe)]
    assert len({each.distill.fingerprint for each in steps}) == 1
    assert [each.choose.fingerprint == steps[0].choose.fingerprint for each in steps] == [True, False, False, True]
    assert len({each.train.fingerprint for each in steps}) == 4


def test_tokens_are_split_over_phases_and_phases_that_say_how_many_keep_theirs(tmp_path: Path, recipe: Recipe) -> None:
    assert split([phase("a")], 100, arm="x") == [100]
    assert split([phase("a"), phase("b"), phase("c")], 101, arm="x") == [34, 34, 33]
    assert split([phase("a", 30), phase("b"), phase("c")], 101, arm="x") == [30, 36, 35]
    assert split([phase("a", 30), phase("b", 70)], 100, arm="x") == [30, 70]
    with pytest.raises(BadRecipe, match=r"arm x: its phases have 100 tokens together, which must be tokens=101"):
        split([phase("a", 30), phase("b", 70)], 101, arm="x")
    with pytest.raises(BadRecipe, match=r"arm x: of tokens=100 phases keep 100, which leaves none for phase b"):
        split([phase("a", 100), phase("b")], 100, arm="x")
    both = [{"name": "p", "generations": ["self"], "tokens": 10, "lr": 0.1}, {"name": "q", "generations": ["long"]}]
    found = runs(recipe, arms(tmp_path, tokens=90, arms={"x": {"train": {"phases": both}}, "y": {}}))
    assert [[(one.name, one.tokens, one.lr) for one in run.recipe.train.phases] for run in found] == [
        [("p", 10, 0.1), ("q", 80, None)],
        [("only", 90, None)],
    ]
    # Two epochs, as the recipe says: the tokens only end it.
    assert found[1].recipe.train.phases[0].epochs == 2


def test_other_trained_tokens_than_two_percent_apart_are_said_loudly() -> None:
    trained = {"x": [{"tokens": 1000}, {"tokens": 1015}], "y": [{"tokens": 1020}]}
    assert unequal(trained) is None
    assert unequal({**trained, "z": [{"tokens": 1021}]}) == (
        "NOT EQUAL: z was trained on 1,021 tokens, x on 1,000: 2.1% apart"
    )


def verdicts(rates: Sequence[int]) -> list[Trace]:
    return [trace(f"{n}?", verdict="correct" if right else "wrong") for n, right in enumerate(rates)]


def put(recipe: Recipe, model: str, rates: dict[str, Sequence[int]], tokens: int = 500) -> None:
    """What the steps of an arm leave."""
    store = store_of(recipe)
    for benchmark, held in rates.items():
        store.write_table(f"scores/{benchmark}/{model}/shard-00000.parquet", to_table(verdicts(held), Trace))
    phases = [
        {"name": "p", "tokens": 2 * tokens, "trained_tokens": tokens, "steps": 4, "loss_last": 1.0},
        {"name": "q", "tokens": 2 * tokens, "trained_tokens": tokens, "steps": 5, "loss_last": 0.25},
    ]
    store.write_json("summary/train.json", {"phases": phases})


def test_paired_figures_are_those_of_numpy_on_the_same_problems(tmp_path: Path, recipe: Recipe) -> None:
    rng = np.random.default_rng(5)
    made = {
        name: {"sums": rng.integers(0, 2, 40), "more": rng.integers(0, 2, 24)}
        for name in ("base", "x1", "x2", "y1", "y2")
    }
    put(base_run(recipe), "base", made["base"])
    every = runs(recipe, arms(tmp_path, arms={"x": {}, "y": {"train": {"lr": 0.1}}}, seeds=[1, 2]))
    for one in every:
        put(one.recipe, "student", made[f"{one.arm}{one.seed}"], tokens=500 if one.arm == "x" else 600)
    found = compared(base_run(recipe), every)
    assert json.loads(json.dumps(found)) is not None
    assert list(found["base"]) == ["more", "sums", "all"]
    x, y = ({b: (made[f"{arm}1"][b] + made[f"{arm}2"][b]) / 2 for b in ("sums", "more")} for arm in "xy")
    joined = {arm: np.concatenate([rates["sums"], rates["more"]]) for arm, rates in (("x", x), ("y", y))}
    assert found["arms"]["x"]["scores"]["all"]["pass@1"] == pytest.approx(joined["x"].mean())
    assert found["arms"]["y"]["scores"]["sums"]["runs"] == pytest.approx([made[f"y{n}"]["sums"].mean() for n in (1, 2)])
    lines = {(line["benchmark"], line["a"], line["b"]): line for line in found["paired"]}
    assert set(lines) == {
        (benchmark, *pair)
        for benchmark in ("sums", "more", "all")
        for pair in (("x", "base"), ("y", "base"), ("y", "x"))
    }
    line = lines["all", "y", "x"]
    apart = joined["y"] - joined["x"]
    assert line["problems"] == 64
    assert line["difference"] == pytest.approx(apart.mean())
    # The bootstrap's interval is near the normal one, and p near that of a z-test, for so many problems.
    error = apart.std(ddof=1) / np.sqrt(64)
    assert line["ci95"] == pytest.approx((apart.mean() - 1.96 * error, apart.mean() + 1.96 * error), abs=0.015)
    flips = rng.choice([-1.0, 1.0], size=(20_000, 64))
    by_flips = (np.abs(flips @ apart) >= abs(apart.sum()) - 1e-9).mean()
    assert line["p_value"] == pytest.approx(by_flips, abs=0.02)
    seeds = [
        np.concatenate([made[f"y{n}"][b] for b in ("sums", "more")]).mean()
        - np.concatenate([made[f"x{n}"][b] for b in ("sums", "more")]).mean()
        for n in (1, 2)
    ]
    assert line["runs"] == pytest.approx(seeds)
    assert np.mean(line["runs"]) == pytest.approx(line["difference"])
    # Base was measured once, and stands beside both seeds.
    assert lines["sums", "x", "base"]["runs"] == pytest.approx(
        [(made[f"x{n}"]["sums"] - made["base"]["sums"]).mean() for n in (1, 2)]
    )
    assert found["arms"]["x"]["runs"][0]["tokens"] == 1000
    assert found["unequal"] == "NOT EQUAL: y was trained on 1,200 tokens, x on 1,000: 20.0% apart"
    text = markdown(found)
    assert text.startswith("**NOT EQUAL")
    assert f"| y - x | all | 64 | {100 * apart.mean():+.1f} |" in text
    assert "| x | 1,000 | 9 | 0.250 |" in text
    assert "means over 2 seeds" in text


def test_holm_corrects_for_the_number_of_pairs() -> None:
    # Holm 1979: the smallest of four times 4, the next times 3, ...; never below the one before, at most 1.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_an_arm_with_too_few_tokens_stops_all_before_training(tmp_path: Path, recipe: Recipe) -> None:
    import pyarrow as pa

    (one,) = runs(recipe, arms(tmp_path, tokens=500, arms={"x": {}}))
    rows = {"generation": ["long", "long", "self"], "student_tokens": [100, 84, 1000]}
    store_of(one.recipe).write_table("dataset/train-00000.parquet", pa.table(rows))
    # 184 and what is around two thoughts (at most 16 each), twice: 432.
    with pytest.raises(Stop, match=r"arm x: phase only has at most 432 tokens to train on in 2 epochs of 2 examples"):
        compare.enough(one)
    compare.enough(runs(recipe, arms(tmp_path, tokens=432, arms={"x": {}}))[0])


def test_one_run_alone_is_told_as_such(tmp_path: Path, recipe: Recipe) -> None:
    put(base_run(recipe), "base", {"sums": [0] * 8, "more": [0] * 8})
    (one,) = runs(recipe, arms(tmp_path, arms={"x": {}}))
    put(one.recipe, "student", {"sums": [1] * 8, "more": [0] * 8})
    found = compared(base_run(recipe), [one])
    (line,) = [line for line in found["paired"] if line["benchmark"] == "sums"]
    # All 8 differ the same way: 2 of 2^8 sign patterns are as far from 0; one pair needs no correction.
    assert (line["difference"], line["p_value"], line["p_holm"]) == (1.0, 2 / 2**8, 2 / 2**8)
    text = markdown(found)
    assert "trained once: how much another seed would change is not known" in text
    assert "| one run |" in text
    assert "NOT EQUAL" not in text


def test_the_arms_that_ship_fit_their_recipe_and_have_equal_tokens() -> None:
    shipped = ROOT / "jobs" / "recipes"
    every = runs(load(str(shipped / "phases.yaml")), load_arms(str(shipped / "compare.yaml")))
    assert [run.arm for run in every] == ["two_phases", "distill_teacher", "distill_self"]
    assert {sum(phase.tokens or 0 for phase in run.recipe.train.phases) for run in every} == {20_000}
