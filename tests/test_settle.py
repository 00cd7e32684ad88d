"""The rules that look at several rows: what is held out, what came before, what says the same."""

from dataclasses import replace

from rows import problem

from pipeline.alike.overlap import Index, OverlapSettings, index_of
from pipeline.curate import CurateSettings
from pipeline.record import Problem
from pipeline.settle import apart, settle

ALL = CurateSettings()
HELD_OUT = "A train leaves Rome at noon with 120 people; 37 get off in Pisa and 12 get on. How many are on it then?"


def index(*prompts: str) -> Index:
    return index_of({"trains": [problem(prompt) for prompt in prompts or (HELD_OUT,)]}, OverlapSettings())


def drops(*rows: Problem, rules: tuple[str, ...] = ALL.rules, held_out: Index | None = None) -> list[str | None]:
    found, _ = settle(rows, index=held_out, settings=CurateSettings(rules=rules))
    return [row.drop for row in found]


def test_of_equal_prompts_the_first_source_stays() -> None:
    first, second = problem(source="first"), problem(" What is  1 + 1? ", source="second")
    assert first.id == second.id
    for rows in ((first, second), (second, first)):
        found, _ = settle(rows, index=None, settings=ALL)
        assert [(row.source, row.drop) for row in found] == [(rows[0].source, None), (rows[1].source, "duplicate")]


def test_one_prompt_with_two_answers_can_be_trusted_with_neither() -> None:
    rows = problem(answer="2"), problem(answer="3"), problem(answer="2.0")
    assert drops(*rows) == ["conflicting_answer"] * 3
    assert drops(problem(answer="2"), problem(answer="2.0")) == [None, "duplicate"]
    assert drops(*rows, rules=("duplicate",)) == [None, "duplicate", "duplicate"]


def test_a_benchmarks_problem_is_named_as_such_whatever_else_is_wrong_with_it() -> None:
    rows = [problem(HELD_OUT), problem("What is 1 + 1?"), problem(HELD_OUT + " ", drop="image", drop_why="figure")]
    found, matches = settle(rows, index=index(), settings=ALL)
    by_prompt = {row.prompt: row for row in found}
    assert by_prompt[HELD_OUT].drop == "in_benchmark"
    assert by_prompt[HELD_OUT + " "].drop == "in_benchmark"
    assert (by_prompt[HELD_OUT + " "].drop_why or "").endswith("(and image)")
    assert by_prompt["What is 1 + 1?"].drop is None
    assert [(match.layer, match.benchmark, match.benchmark_text) for match in matches] == [
        ("in_benchmark", "trains", HELD_OUT)
    ] * 2


def test_a_layer_that_is_off_drops_nothing() -> None:
    assert drops(problem(HELD_OUT), held_out=index(), rules=("duplicate", "benchmark_ngram")) == [None]
    assert drops(problem(HELD_OUT), held_out=None) == [None]


def test_members_of_a_cluster_go_and_their_keeper_stays() -> None:
    keeper, other, alone, gone = problem("a"), problem("b"), problem("c"), problem("d", drop="in_benchmark")
    line = {"cluster": keeper.id, "keeper": keeper.id, "similarity": 0.8, "beside": None}
    members = [line | {"id": keeper.id, "similarity": 1.0}, line | {"id": other.id}]
    found = {row.prompt: row for row in apart([keeper, other, alone, gone], members, ALL)}
    assert [found[name].drop for name in "abcd"] == [None, "near_duplicate", None, "in_benchmark"]
    assert [found[name].cluster for name in "abcd"] == [keeper.id, keeper.id, alone.id, None]
    assert found["b"].drop_why == f"says the same as {keeper.id[:8]}, similarity 0.80"


def test_what_says_the_same_as_a_benchmarks_problem_goes_too() -> None:
    held_out, near = problem("a", drop="benchmark_ngram"), problem("b")
    line = {"cluster": near.id, "keeper": near.id, "similarity": 0.8, "beside": held_out.id}
    members = [line | {"id": one.id} for one in (held_out, near)]
    first, second = apart([held_out, near], members, ALL)
    assert (first.drop, second.drop) == ("benchmark_ngram", "beside_benchmark")
    only = CurateSettings(rules=tuple(rule for rule in ALL.rules if rule != "beside_benchmark"))
    assert apart([replace(near)], members, only)[0].drop is None
