"""The look at a source's first rows: what it tells, and the wrong fields that it stops."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
from test_plans import TEXT

from jobs.curate import plan
from jobs.recipe_file import load
from pipeline.curate import CurateSettings
from pipeline.errors import Stop
from pipeline.first_rows import FirstRows, beginning, first_rows
from pipeline.sources import Fields, FileSource, GymSource, HfSource, Source

GOOD = {"problem": "How many legs do 3 cows and 2 hens have?", "answer": "16"}


def file(tmp_path: Path, *rows: dict[str, Any] | str, **more: Any) -> FileSource:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return FileSource(**{"name": "made", "format": "jsonl", "path": str(path), **more})


def look(source: Source) -> FirstRows:
    return first_rows(source, settings=CurateSettings())


def stopped(source: Source) -> str:
    with pytest.raises(Stop) as refused:
        look(source)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_the_first_rows_are_counted_by_what_the_rules_drop_and_one_that_is_kept_is_shown(tmp_path: Path) -> None:
    image = {"problem": "In the figure, what is the angle?", "answer": "5"}
    found = look(file(tmp_path, image, {"problem": "", "answer": "5"}, image, GOOD))
    assert (found.rows, dict(found.dropped)) == (4, {"image": 2, "no_prompt": 1})
    assert found.example is not None
    assert (found.example.prompt, found.example.answer) == (GOOD["problem"], "16")
    assert look(file(tmp_path)) == FirstRows(0, Counter(), None)


def test_no_more_than_the_first_rows_are_read(tmp_path: Path) -> None:
    assert look(file(tmp_path, *[GOOD] * 50, "{broken")).rows == 50
    assert "line 50 is not JSON" in stopped(file(tmp_path, *[GOOD] * 49, "{broken"))
    dropped = look(file(tmp_path, *[GOOD] * 49, "{broken", bad_rows="drop"))
    assert dict(dropped.dropped) == {"unreadable": 1}
    assert look(file(tmp_path, *[GOOD] * 50, limit=7)).rows == 7


def test_a_field_that_no_row_has_stops_with_the_fields_there_are(tmp_path: Path) -> None:
    said = stopped(file(tmp_path, GOOD, fields=Fields(prompt="qestion")))
    assert said == "source made: no field 'qestion'; the first row has: problem, answer"
    talk = {"messages": [{"role": "user", "content": "How many legs has a cow?"}], "gold": {"final": 4}, "note": None}
    deep = Fields(prompt="messages.0.contents", answer="gold.final")
    said = stopped(file(tmp_path, *[talk] * 3, fields=deep))
    assert said == (
        "source made: none of the 3 rows has a prompt in field 'messages.0.contents'; set fields.prompt to the one "
        "that holds it, the first have: messages.0.role, messages.0.content, gold.final"
    )
    said = stopped(file(tmp_path, talk, fields=Fields(prompt="messages.0.content", answer="gold.value")))
    assert "none of the 1 rows has an answer in field 'gold.value'; set fields.answer" in said
    assert look(file(tmp_path, talk, fields=Fields(prompt="messages.0.content", answer="gold.final"))).rows == 1


def test_a_parquet_column_without_a_value_stops_too(tmp_path: Path) -> None:
    rows = pa.table({"problem": ["How many legs has a cow?"] * 3, "answer": pa.nulls(3, pa.string()), "gold": [4] * 3})
    pq.write_table(rows, tmp_path / "rows.parquet")
    source = FileSource(name="made", format="parquet", path=str(tmp_path / "rows.parquet"))
    assert stopped(source).endswith("the first have: problem, gold")


def test_an_answer_regex_that_never_matches_is_told_with_an_answer(tmp_path: Path) -> None:
    said = stopped(file(tmp_path, *[GOOD] * 2, answer_regex="#### (.+)"))
    assert said == (
        "source made: answer_regex='#### (.+)' finds no answer in any of the 2 rows; the first that they have is '16'"
    )


BARE = {**GOOD, "answer": None}
"""A proof: rows that are sorted may begin with thousands of them."""


@pytest.mark.parametrize("format", ["jsonl", "parquet"])
def test_rows_sorted_with_those_without_an_answer_first_are_no_wrong_field(tmp_path: Path, format: str) -> None:
    rows = [*[BARE] * 1200, *[GOOD] * 3]
    source = file(tmp_path, *rows)
    if format == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet", row_group_size=500)
        source = FileSource(name="made", format="parquet", path=str(tmp_path / "rows.parquet"))
    found = look(source)
    assert (found.rows, dict(found.dropped)) == (50, {"no_answer": 50})
    assert found.warning == "no answer in the first 1,200 rows, row 1,201 is the first that has one"
    # What the run will not read tells nothing.
    said = stopped(source.model_copy(update={"limit": 1200}))
    assert "none of the 1,200 rows has an answer in field 'answer'" in said
    assert look(source.model_copy(update={"limit": 1201})).warning == found.warning


def test_an_answer_that_only_a_later_file_has_is_no_wrong_field(tmp_path: Path) -> None:
    (tmp_path / "rows-0.jsonl").write_text("")
    for number, rows in enumerate([[BARE] * 60, [BARE] * 60, [GOOD]], start=1):
        (tmp_path / f"rows-{number}.jsonl").write_text("".join(json.dumps(row) + "\n\n" for row in rows))
    source = FileSource(name="made", format="jsonl", path=str(tmp_path / "rows-*.jsonl"))
    assert look(source).warning == "no answer in the first 120 rows, row 121 is the first that has one"
    # A limit is each file's own.
    limited = source.model_copy(update={"limit": 30})
    assert look(limited).warning == "no answer in the first 60 rows, row 61 is the first that has one"


def test_both_may_be_missing_at_first_and_in_different_rows(tmp_path: Path) -> None:
    empty = {"problem": " ", "answer": ""}
    found = look(file(tmp_path, *[empty] * 70, {**empty, "answer": 16}, {**empty, "problem": "Why?"}))
    assert found.warning == (
        "no prompt in the first 71 rows, row 72 is the first that has one; "
        "no answer in the first 70 rows, row 71 is the first that has one"
    )
    assert "has an answer in field 'answer'" in stopped(file(tmp_path, *[BARE] * 70))
    assert look(file(tmp_path, *["{broken"] * 60, bad_rows="drop")).warning is None


def test_a_right_recipe_is_looked_at_without_reading_on(tmp_path: Path) -> None:
    # A row that can't be read stops whoever comes to it.
    assert look(file(tmp_path, *[BARE] * 49, GOOD, "{broken")).warning is None
    assert look(file(tmp_path, *[BARE] * 50, GOOD, "{broken")).warning is not None
    assert "line 52 is not JSON" in stopped(file(tmp_path, *[BARE] * 51, "{broken", GOOD))


def test_of_a_hub_set_only_so_many_rows_are_looked_at_and_only_a_column_that_is_missing_stops(tmp_path: Path) -> None:
    def far(rows: list[dict[str, Any]], **more: Any) -> HfSource:
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "train.parquet")
        return HfSource(**{"name": "made", "format": "hf", "path": str(tmp_path), "stream": True, **more})

    found = look(far([*[BARE] * 1000, GOOD]))
    assert (found.rows, found.warning) == (
        50,
        "none of the first 1,000 rows has an answer in field 'answer'; set fields.answer to the one that holds it, "
        "the first have: problem",
    )
    assert (
        look(far([*[BARE] * 999, GOOD])).warning
        == "no answer in the first 999 rows, row 1,000 is the first that has one"
    )
    said = stopped(far([GOOD] * 60, fields=Fields(answer="gold.final")))
    assert said == "source made: no field 'gold.final'; the first row has: problem, answer"
    # These are all that it has.
    assert "none of the 60 rows has an answer in field 'answer'" in stopped(far([BARE] * 60, limit=80))


def test_a_generator_is_looked_at_too_and_an_unknown_task_is_refused() -> None:
    made = GymSource(name="sums", format="reasoning_gym", task="chain_sum", size=100_000)
    found = look(made)
    assert (found.rows, found.dropped.total()) == (50, 0)
    assert "'no_such_task'" in stopped(made.model_copy(update={"task": "no_such_task"}))


def test_a_hostile_row_is_one_short_line() -> None:
    assert beginning("a\n\tb  c") == "a b c"
    assert beginning("x" * 1_000_000) == "x" * 60 + " ..."
    assert beginning(" " * 1_000_000 + "x") == " ..."


def test_a_dry_run_tells_the_first_rows_and_stops_at_a_wrong_field_without_ray(tmp_path: Path) -> None:
    started = ray.is_initialized()
    source = file(tmp_path, {"question": "What is [b]2[/b] \x1b[31m+ 2, if it is not 5?", "answer": 4})
    (tmp_path / "made.yaml").write_text(TEXT.replace("OPEN", str(source.path)))
    right = f"{{name: made, format: jsonl, path: {source.path}, fields: {{prompt: question}}}}"
    recipe = load(
        str(tmp_path / "made.yaml"), [f"sources=[{right}]", "evaluate.benchmarks.open.fields.prompt=question"]
    )
    lines = dict(plan(recipe))
    assert lines["first rows of source made"] == (
        "1 read, 0 would be dropped; such as: What is [b]2[/b] [31m+ 2, if it is not 5? -> 4"
    )
    # A benchmark is read as its publisher wrote it.
    assert lines["first rows of benchmark open"] == (
        "1 read, 0 would be dropped; such as: What is [b]2[/b] <U+001B>[31m+ 2, if it is not 5? -> 4"
    )
    bare = {"question": "What is 2 + 2?", "answer": None}
    file(tmp_path, *[bare] * 70, {**bare, "answer": 4})
    line = dict(plan(recipe))["first rows of source made"]
    assert line.endswith("\nwarning: no answer in the first 70 rows, row 71 is the first that has one")
    hub = load(str(tmp_path / "made.yaml"), ["sources=[{name: far, format: hf, path: a/b}]", "evaluate.benchmarks={}"])
    assert dict(plan(hub))["first rows of source far"] == "not looked at: a dry run asks nothing of the Hub"
    with pytest.raises(Stop, match="source open: no field 'problem'; the first row has: question, answer"):
        plan(load(str(tmp_path / "made.yaml"), [f"sources=[{right}]"]))
    assert ray.is_initialized() == started
