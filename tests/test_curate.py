"""Curation: every row that came in is still there, kept or dropped under a name."""

import json
from dataclasses import replace
from pathlib import Path

from rows import problem

from pipeline.curate import CurateSettings, problems_of, settle
from pipeline.record import Problem
from pipeline.sources import FileSource, slices

ALL = CurateSettings()


def curated(tmp_path: Path, *pairs: tuple[str | None, object], settings: CurateSettings = ALL) -> list[Problem]:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"problem": prompt, "answer": answer}) + "\n" for prompt, answer in pairs))
    source = FileSource(name="made", format="jsonl", path=str(path), licence="MIT")
    return [one for part in slices(source) for one in problems_of(source, part, settings=settings)]


def settled(
    *problems: Problem, benchmark: frozenset[str] = frozenset(), settings: CurateSettings = ALL
) -> list[Problem]:
    return settle(problems, benchmark=benchmark, settings=settings)


def test_a_good_row_becomes_a_problem(tmp_path: Path) -> None:
    (one,) = curated(tmp_path, ("What is 1 + 1?", 2))
    assert one == replace(problem(), licence="MIT")


def test_rows_without_prompt_or_answer_are_dropped_by_name(tmp_path: Path) -> None:
    rows = curated(tmp_path, ("1 + 1 = ?", "5"), ("", "5"), (None, "5"), ("q", ""), ("r", None), (None, None))
    assert [one.drop for one in rows] == [None, "no_prompt", "no_prompt", "no_answer", "no_answer", "no_prompt"]


def test_problems_that_need_an_image_are_dropped_with_the_words_that_say_so(tmp_path: Path) -> None:
    shown = [
        "[asy] draw((0,0)--(1,1)); [/asy] Find x.",
        "In the figure, what is the angle?",
        "What is the area of the triangle shown below?",
        "Look: ![a graph](x) Find f(2).",
        "The graph is shown. Find f(2).",
        "See the diagram. Find x.",
        '<img src="a.png"> Find x.',
    ]
    rows = curated(tmp_path, *((prompt, "5") for prompt in shown))
    assert [one.drop for one in rows] == ["image"] * len(shown)
    assert all(one.drop_why and one.drop_why in one.prompt for one in rows)


def test_words_about_pictures_alone_do_not_drop_a_problem(tmp_path: Path) -> None:
    fine = [
        "Ann draws 3 pictures a day. How many in a week?",
        "How many six-figure numbers are there?",
        "It can be shown that x = 2. Find 2x.",
        "A frame costs $5 more than the picture. Both cost $25. What is the picture's price?",
        "Find the image of 3 under f(x) = x + 1.",
        "The graph of f passes (1, 2). Find f(1).",
    ]
    assert [one.prompt for one in curated(tmp_path, *((prompt, "5") for prompt in fine)) if one.drop] == []


def test_a_rule_that_is_off_drops_nothing(tmp_path: Path) -> None:
    (one,) = curated(tmp_path, ("[asy] x [/asy]", "5"), settings=CurateSettings(rules=("duplicate",)))
    assert one.drop is None
    same = [problem(answer="1"), problem(answer="2")]
    assert [one.drop for one in settled(*same, settings=CurateSettings(rules=("duplicate",)))] == [None, "duplicate"]
    held_out = frozenset({problem().id})
    (one,) = settled(problem(), benchmark=held_out, settings=CurateSettings(rules=("duplicate",)))
    assert one.drop is None


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


def test_held_out_problems_are_dropped_whatever_their_spacing() -> None:
    held_out = frozenset({problem("What is\n1 + 1?").id})
    rows = settled(problem(), problem("other"), benchmark=held_out)
    assert {one.prompt: one.drop for one in rows} == {"What is 1 + 1?": "in_benchmark", "other": None}


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


def test_what_normalising_changes_is_kept_beside_and_the_id_is_of_the_clean_text(tmp_path: Path) -> None:
    clean, framed = curated(tmp_path, ("What is 1 + 1?", "2"), ("Problem 3. What is 1 + 1?", "$2$"))
    assert (clean.raw_prompt, clean.raw_answer) == (None, None)
    assert (framed.raw_prompt, framed.raw_answer) == ("Problem 3. What is 1 + 1?", "$2$")
    assert (framed.id, framed.prompt, framed.answer) == (clean.id, clean.prompt, clean.answer)
    (as_it_is,) = curated(tmp_path, ("Problem 3. What is 1 + 1?", "$2$"), settings=CurateSettings(normalise=False))
    assert (as_it_is.prompt, as_it_is.answer, as_it_is.raw_prompt) == ("Problem 3. What is 1 + 1?", "$2$", None)
