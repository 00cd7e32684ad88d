"""reasoning-gym's own scorers: the way through JSON, and answers that would run as code."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import Stop
from pipeline.golds import bad_gold
from pipeline.gym import EVALUATED, PARSED, gym_gold, score_gym
from pipeline.sources import GymSource, read, slices

# Tuples, keys that are numbers, floats and several right answers are among what these keep of a problem.
TASKS = (
    *(
        "arc_1d",
        "rearc",
        "basic_arithmetic",
        "complex_arithmetic",
        "countdown",
        "decimal_arithmetic",
        "letter_counting",
    ),
    *("group_anagrams", "maze", "n_queens", "polynomial_multiplication", "prime_factorization", "puzzle24", "sudoku"),
    *("shortest_path", "simple_integration", "spiral_matrix", "string_insertion", "word_ladder", "zebra_puzzles"),
)


def _source(task: str, **options: Any) -> GymSource:
    return GymSource(name="gym", kind="gym", format="reasoning_gym", task=task, size=2, seed=7, options=options)


def _golds(source: GymSource) -> list[str]:
    rows = [row for part in slices(source) for row in read(source, part)]
    assert len(rows) == 2
    return [row.answer or "" for row in rows]


def _answer(gold: str) -> str:
    answer: str = json.loads(gold)["entry"]["answer"]
    return answer


@pytest.mark.parametrize("task", TASKS)
def test_an_entrys_own_answer_is_right_and_another_is_not(task: str) -> None:
    for gold in _golds(_source(task)):
        own = score_gym(gold, _answer(gold))
        assert (own.verdict, own.found) == ("correct", _answer(gold))
        assert own.why == "reasoning_gym scored 1"
        for other in ("", "-123456", "no idea"):
            assert score_gym(gold, other).verdict in ("wrong", "undecided")
        assert score_gym(gold, "-123456").verdict == "wrong" or task in EVALUATED


def test_an_answer_that_is_right_in_another_writing_is_right() -> None:
    gold = _golds(_source("countdown"))[0]
    own = _answer(gold)
    assert score_gym(gold, f"({own}) * 1 + 0 * 1").verdict == "wrong"
    assert score_gym(gold, f"( {own} )").verdict == "correct"


def test_a_near_miss_is_wrong_with_its_score() -> None:
    gold = _golds(_source("basic_arithmetic"))[0]
    judged = score_gym(gold, f"about {_answer(gold)} or so")
    assert judged.verdict == "wrong"
    assert judged.why.startswith("reasoning_gym scored 0.")


def test_the_tasks_options_reach_the_scorer() -> None:
    gold = _golds(_source("puzzle24", min_value=2, max_value=9))[0]
    assert json.loads(gold)["options"] == {"min_value": 2, "max_value": 9}
    assert score_gym(gold, f"({_answer(gold)})").verdict == "correct"
    # The scorer refuses numbers beyond the task's own.
    narrow = json.dumps(json.loads(gold) | {"options": {"min_value": 1, "max_value": 1}})
    assert score_gym(narrow, f"({_answer(gold)})").verdict == "wrong"
    assert score_gym(json.dumps(json.loads(gold) | {"options": {"no_such": 1}}), "1").verdict == "undecided"


@pytest.mark.parametrize("task", sorted((EVALUATED | PARSED) - {"composite"}))
def test_no_answer_runs_as_code(task: str, tmp_path: Path) -> None:
    gold = _golds(_source(task))[0]
    marker = tmp_path / "ran"
    opened = f"open({str(marker)!r}, 'w')"
    for text in (
        opened,
        f"__import__('os').system('touch {marker}')",
        f"[{opened} for _ in [1]]",
        f"[1, {opened}]",
        f"(lambda: {opened})()",
        f"{{'a': {opened}}}",
        f"f'{{{opened}}}'",
        f"x + {opened}",
        f"S({opened!r})",
        f"sin.__class__.__base__.__subclasses__() and {opened}",
        f"\n {opened}",
        f"[] if {opened} else []",
        f"1 if {opened} else 2",
    ):
        assert score_gym(gold, text).verdict in ("undecided", "wrong")
        assert not marker.exists(), text


def test_the_same_text_does_run_where_nobody_looks(tmp_path: Path) -> None:
    """The danger is real: without the guard reasoning-gym's scorer does what the answer says."""
    gold = _golds(_source("n_queens"))[0]
    score_gym(gold, f"[open({str(tmp_path / 'ran')!r}, 'w')]", trusted=True)
    assert (tmp_path / "ran").exists()


def test_a_plain_wrong_answer_to_an_evaluating_task_is_wrong() -> None:
    assert score_gym(_golds(_source("spiral_matrix"))[0], "[1, 2, 3]").verdict == "wrong"
    assert score_gym(_golds(_source("spiral_matrix"))[0], "1 2 3").verdict == "wrong"
    assert score_gym(_golds(_source("simple_integration"))[0], "x**2 + C").verdict == "wrong"
    assert score_gym(_golds(_source("puzzle24"))[0], "1 + 1").verdict == "wrong"


def test_a_scorer_that_takes_anything_decides_nothing() -> None:
    golds = _golds(_source("game_of_life_halting"))
    assert golds
    for gold in golds:
        assert score_gym(gold, _answer(gold)).verdict == "correct"
        assert score_gym(gold, "who knows").verdict == "undecided"


def test_a_scorer_that_fails_decides_nothing() -> None:
    judged = score_gym(_golds(_source("prime_factorization"))[0], "two times three")
    assert judged.verdict == "undecided"
    assert judged.why.startswith("reasoning_gym failed: ValueError")


@pytest.mark.parametrize(
    "gold", ["", "42", "{}", '{"task": "no_such_task", "entry": {}}', '{"entry": {}}', "[" * 100_000]
)
def test_a_gold_that_is_none_decides_nothing(gold: str) -> None:
    assert score_gym(gold, "1").verdict == "undecided"


def test_an_entry_that_json_cannot_hold_or_that_is_wrong_is_refused() -> None:
    with pytest.raises(Stop, match="complex in an entry can't be written as JSON"):
        gym_gold("letter_counting", {"question": "?", "answer": "1", "metadata": {"z": 1j}})
    with pytest.raises(Stop, match="own answer is not right"):
        gym_gold("puzzle24", {"question": "?", "answer": "1 + 1", "metadata": {"numbers": [1, 1, 1, 1]}})


def test_other_kinds_still_get_the_plain_answer() -> None:
    source = _source("letter_counting").model_copy(update={"kind": "text"})
    answers = [row.answer for part in slices(source) for row in read(source, part)]
    assert all(answer is not None and answer.isdigit() for answer in answers)


@pytest.mark.parametrize(
    "gold", ["5", "no JSON", "[]", '{"entry": {}}', '{"task": "chain_sum", "entry": []}', "[" * 100_000]
)
def test_gold_in_another_form_is_told_the_form(gold: str) -> None:
    form = '{"task": ..., "options": {...}, "entry": {...}}'
    assert form in str(bad_gold("gym", gold))
    verdict = score_gym(gold, "5")
    assert verdict.verdict == "undecided"
    assert form in verdict.why
    assert bad_gold("gym", '{"task": "chain_sum", "entry": {"answer": "5"}}') is None
