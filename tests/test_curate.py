"""Curation: every row that came in is still there, kept or dropped under a name."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError
from rows import problem

from cluster.curation import Curation, all_there, cut, sample
from pipeline.curate import CurateSettings, problems_of
from pipeline.errors import Stop
from pipeline.funnel import ProblemCounts
from pipeline.record import Problem, to_table
from pipeline.sources import FileSource, slices
from pipeline.store import Store

ALL = CurateSettings()


def curated(tmp_path: Path, *pairs: tuple[str | None, object], settings: CurateSettings = ALL) -> list[Problem]:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"problem": prompt, "answer": answer}) + "\n" for prompt, answer in pairs))
    source = FileSource(name="made", format="jsonl", path=str(path), licence="MIT")
    return [one for part in slices(source) for one in problems_of(source, part, settings=settings)]


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


@pytest.mark.parametrize("name", ["too_hard", "benchmark_paraphrase", "trace_in_benchmark", "unreadable"])
def test_a_reason_that_no_switch_turns_on_is_no_rule(name: str) -> None:
    with pytest.raises(ValidationError, match="rules"):
        CurateSettings(rules=(name,))


def test_without_takes_rules_out_of_those_that_are_on(tmp_path: Path) -> None:
    settings = CurateSettings(without=("image", "proof"))
    assert settings == CurateSettings(rules=tuple(rule for rule in ALL.rules if rule not in ("image", "proof")))
    assert len(settings.rules) == len(ALL.rules) - 2
    rows = curated(tmp_path, ("[asy] x [/asy] Find x.", "5"), ("Find the 3 roots.", None), settings=settings)
    assert [one.drop for one in rows] == [None, "no_answer"]
    # What a run's folder holds of it loads to the same.
    assert CurateSettings.model_validate(settings.model_dump(mode="json")) == settings


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"without": ["image", "no_answer"]}, "without='no_answer', which always holds; it can name too_long"),
        ({"without": ["in_benchmark"]}, "without='in_benchmark', which always holds"),
        ({"without": ["multiple_answers"]}, "without='multiple_answers', which is off by default"),
        ({"without": ["image"], "rules": ["image", "proof"]}, "without='image', but rules lists what holds"),
        ({"without": ["image"], "rules": ["proof"]}, "without='image', but rules lists what holds"),
        ({"without": ["imge"]}, r"without.0\n  Input should be 'no_prompt'"),
        ({"without": "image"}, "valid tuple"),
        ({"without": [["image"]]}, "Input should be 'no_prompt'"),
    ],
)
def test_without_is_refused_where_it_says_nothing(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        CurateSettings.model_validate(wrong)


def test_a_rule_that_is_off_drops_nothing(tmp_path: Path) -> None:
    (one,) = curated(tmp_path, ("[asy] x [/asy]", "5"), settings=CurateSettings(rules=("duplicate",)))
    assert one.drop is None


def test_what_normalising_changes_is_kept_beside_and_the_id_is_of_the_clean_text(tmp_path: Path) -> None:
    clean, framed = curated(tmp_path, ("What is 1 + 1?", "2"), ("Problem 3. What is 1 + 1?", "$2$"))
    assert (clean.raw_prompt, clean.raw_answer) == (None, None)
    assert (framed.raw_prompt, framed.raw_answer) == ("Problem 3. What is 1 + 1?", "$2$")
    assert (framed.id, framed.prompt, framed.answer) == (clean.id, clean.prompt, clean.answer)
    (as_it_is,) = curated(tmp_path, ("Problem 3. What is 1 + 1?", "$2$"), settings=CurateSettings(normalise=False))
    assert (as_it_is.prompt, as_it_is.answer, as_it_is.raw_prompt) == ("Problem 3. What is 1 + 1?", "$2$", None)


def test_the_sample_of_prompts_is_the_same_however_a_shard_lies_in_files(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    problems = [problem(f"What is {number} times {number}?") for number in range(7000)]
    shards = [problems[:6000], problems[6000:]]
    parts: list[list[str]] = []
    for number, rows in enumerate(shards):
        store.write_table(f"whole/{number}.parquet", to_table(rows, Problem))
        pieces = [rows[at : at + 2700] for at in range(0, len(rows), 2700)]
        parts.append([f"parts/{number}-{part}.parquet" for part in range(len(pieces))])
        for name, piece in zip(parts[-1], pieces, strict=True):
            store.write_table(name, to_table(piece, Problem))
    whole = [[f"whole/{number}.parquet"] for number in range(len(shards))]
    expected = [one.prompt for one in sorted(shards[0], key=lambda one: one.id)[:5000]]
    assert sample(store, whole) == sample(store, parts) == sample(store, [each[::-1] for each in parts]) == expected


def test_a_part_that_went_between_two_stages_is_noticed(tmp_path: Path) -> None:
    to = Curation(Store(str(tmp_path)), "problems", ALL, 2, "made")
    to.store.write_json(f"{to.work}/read/000000.json", {"rows": 7})
    to.store.write_json(f"{to.work}/read/000001.json", {"rows": 5})
    all_there(to, ProblemCounts(kept=9, dropped=Counter(duplicate=3), sources=Counter(a=12)))
    with pytest.raises(Stop, match="12 rows were read and 11 are in problems/"):
        all_there(to, ProblemCounts(kept=9, dropped=Counter(duplicate=2), sources=Counter(a=11)))


def test_a_run_that_goes_on_reads_the_slices_it_began_with(tmp_path: Path) -> None:
    to = Curation(Store(str(tmp_path)), "problems", ALL, 2, "made")
    sources = []
    for name in ("first", "second"):
        sources.append(FileSource(name=name, format="jsonl", path=f"{tmp_path}/{name}-*.jsonl", limit=2))
        (tmp_path / f"{name}-b.jsonl").write_text('{"problem": "p"}\n' * 3)
    begun = cut(sources, to)
    assert [(one.number, one.source.name, one.part.stop) for one in begun] == [(0, "first", 2), (1, "second", 2)]
    to.store.write_json(f"{to.work}/read/000000.json", {"rows": 2})
    # Whatever the sources would be cut into by now.
    (tmp_path / "first-a.jsonl").write_text('{"problem": "q"}\n')
    assert cut(sources, to) == begun
    assert to.store.names(f"{to.work}/read") == ["000000.json"]


def test_marks_of_an_unknown_cut_are_not_believed(tmp_path: Path) -> None:
    to = Curation(Store(str(tmp_path)), "problems", ALL, 2, "made")
    to.store.write_json(f"{to.work}/read/000000.json", {"rows": 12})
    to.store.write_table(f"{to.work}/parts/shard-00000/000000-000003.parquet", to_table([problem()], Problem))
    (tmp_path / "a.jsonl").write_text('{"problem": "p"}\n')
    cut([FileSource(name="a", format="jsonl", path=f"{tmp_path}/a.jsonl")], to)
    assert to.store.names_below(to.work) == ["problems/work/slices.json"]
