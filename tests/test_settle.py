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


def settled(*rows: Problem) -> list[Problem]:
    found, matches = settle(rows, index=None, settings=ALL)
    assert matches == []
    return found


def drops(*rows: Problem, rules: tuple[str, ...] = ALL.rules, held_out: Index | None = None) -> list[str | None]:
    found, _ = settle(rows, index=held_out, settings=CurateSettings(rules=rules))
    return [row.drop for row in found]


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
    longer = problem(f"Read this. {HELD_OUT} Think twice.")
    assert drops(longer, held_out=index(), rules=("benchmark_ngram",)) == ["benchmark_ngram"]
    assert drops(longer, held_out=index(), rules=("duplicate", "benchmark_near")) == [None]
    # The same text is never trained on, whatever the rules.
    assert drops(problem(HELD_OUT), held_out=index(), rules=("duplicate",)) == ["in_benchmark"]
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
    line = {"cluster": held_out.id, "keeper": held_out.id, "similarity": 0.8, "beside": held_out.id}
    members = [line | {"id": one.id} for one in (held_out, near)]
    first, second = apart([held_out, near], members, ALL)
    assert (first.drop, second.drop) == ("benchmark_ngram", "beside_benchmark")
    only = CurateSettings(rules=tuple(rule for rule in ALL.rules if rule != "beside_benchmark"))
    assert apart([replace(near)], members, only)[0].drop is None


def test_of_equal_prompts_the_first_source_stays() -> None:
    first, second = problem(source="first"), problem(" What is  1 + 1? ", source="second")
    assert first.id == second.id
    assert [(one.source, one.drop) for one in settled(first, second)] == [("first", None), ("second", "duplicate")]
    assert [(one.source, one.drop) for one in settled(second, first)] == [("second", None), ("first", "duplicate")]


def test_equal_prompts_with_other_answers_are_all_dropped() -> None:
    rows = settled(problem(answer="2"), problem(answer="3"), problem("other"))
    assert sorted((one.prompt, one.drop) for one in rows if one.drop) == [("What is 1 + 1?", "conflicting_answer")] * 2
    assert {one.drop_why for one in rows if one.drop} == {"the same prompt comes with: 2 | 3"}


def test_answers_that_differ_in_writing_alone_do_not_conflict() -> None:
    rows = settled(problem(answer="2"), problem(answer="$2$"), problem(answer="\\text{2}"))
    assert [one.drop for one in rows] == [None, "duplicate", "duplicate"]


def test_equal_numbers_written_apart_do_not_conflict() -> None:
    rows = settled(problem(answer="1,000"), problem(answer="1000"), problem(answer="1000.0"))
    assert [one.drop for one in rows] == [None, "duplicate", "duplicate"]


def test_a_dropped_row_decides_nothing_about_others() -> None:
    dropped = problem(answer="3", drop="image", drop_why="[asy]")
    rows = settled(dropped, problem(answer="2"))
    assert [(one.answer, one.drop) for one in rows] == [("3", "image"), ("2", None)]


def test_settling_keeps_every_row_and_does_not_depend_on_the_order_of_problems() -> None:
    rows = [problem(f"p{number % 7}", answer=str(number % 3), source=str(number)) for number in range(40)]
    rows[5] = replace(rows[5], drop="no_answer")
    out = settled(*rows)
    assert sorted(one.source for one in out) == sorted(one.source for one in rows)
    by_id = sorted(rows, key=lambda one: one.id, reverse=True)
    assert settled(*by_id) == out
    assert [one.id for one in out] == sorted(one.id for one in out)
    # What a rule changes is drop and drop_why; the row itself stays.
    assert {replace(one, drop=None, drop_why=None) for one in out} == {replace(one, drop=None) for one in rows}
