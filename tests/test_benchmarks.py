"""Benchmarks: the ready ones on their publishers' files, and rows that would change a score named in one line."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from pipeline.benchmarks import READY, check, complete, written_out
from pipeline.errors import Stop
from pipeline.sources import FileSource, GymSource, HfSource, Raw, Source, read, slices

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
FILES = {
    "aime24": "aime24.jsonl",
    "aime25": "aime25.jsonl",
    "math500": "math500.jsonl",
    "gsm8k": "gsm8k_test.jsonl",
    "math2024": "math2024_cn.jsonl",
}
# First and last answers, read in the publishers' files by hand.
ENDS = {
    "aime24": ("204", "902"),
    "aime25": ("70", "240"),
    "math500": ("\\left( 3, \\frac{\\pi}{2} \\right)", "106^\\circ"),
    "gsm8k": ("18", "14"),
    "math2024": ("\\frac{5}{17}", "385"),
}


def entry(**values: Any) -> Any:
    return TypeAdapter(Source).validate_python(written_out(values))


def made(tmp_path: Path, *rows: dict[str, Any], **more: Any) -> FileSource:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return FileSource(name="made", format="jsonl", path=str(path), **more)


def stopped(source: Source) -> str:
    with pytest.raises(Stop) as stop:
        check("mine", source)
    assert "\n" not in str(stop.value)
    return str(stop.value)


def row(n: int, **more: Any) -> dict[str, Any]:
    return {"problem": f"What is {n} + {n}?", "answer": 2 * n, **more}


def rows(source: Any) -> list[Raw]:
    return [raw for part in slices(source) for raw in read(source, part)]


@pytest.mark.data
@pytest.mark.parametrize("name", READY)
def test_every_ready_benchmark_is_read_whole_from_its_publishers_file(name: str) -> None:
    file = DATA / FILES[name]
    if not file.exists():
        pytest.skip(f"needs {file.name} beside the checkout")
    source = entry(ready=name, path=str(file))
    found = rows(source)
    check(name, source)
    complete([source], {name: len(found)})
    assert len(found) == READY[name].rows
    assert all(raw.prompt and raw.answer for raw in found)
    assert (found[0].answer, found[-1].answer) == ENDS[name]


def test_a_ready_benchmark_is_read_from_the_hub_where_no_file_is_named() -> None:
    source = entry(ready="gsm8k")
    assert isinstance(source, HfSource)
    assert (source.path, source.config, source.split, source.rows) == ("openai/gsm8k", "main", "test", 1319)
    for name in READY.keys() - {"math2024"}:
        assert entry(ready=name).name == name


def test_what_the_recipe_says_goes_over_the_entry() -> None:
    source = entry(ready="aime25", path="x.parquet", kind="text", limit=3, fields={"answer": "gold"})
    assert isinstance(source, FileSource)
    assert (source.format, source.kind, source.limit) == ("parquet", "text", 3)
    assert (source.fields.prompt, source.fields.answer) == ("problem", "gold")
    assert entry(ready="math500", path="x.txt", format="jsonl").format == "jsonl"
    plain = {"name": "x", "format": "jsonl", "path": "y"}
    assert written_out(plain) is plain


def test_two_rows_with_one_problem_or_one_id_are_named(tmp_path: Path) -> None:
    said = stopped(made(tmp_path, row(1), row(2), {"problem": " What is\n1 + 1?", "answer": "2"}))
    assert said.startswith("benchmark mine: ")
    assert "rows.jsonl row 3 has the same problem as" in said
    assert "rows.jsonl row 1:" in said
    twice = made(tmp_path, row(1, id=7), row(2, id="8"), row(3, id="7"))
    assert "row 3 has the same id '7' as" in stopped(twice)
    check("mine", twice.model_copy(update={"fields": twice.fields.model_copy(update={"id": None})}))
    check("mine", made(tmp_path, row(1), row(2), row(3, id=None)))


def test_a_row_without_gold_or_problem_is_named_and_many_are_counted(tmp_path: Path) -> None:
    said = stopped(made(tmp_path, row(1), row(2) | {"answer": None}, row(3) | {"problem": " "}))
    assert "row 2 has no answer; " in said
    assert "row 3 has no problem" in said
    said = stopped(made(tmp_path, *(row(n) | {"answer": ""} for n in range(9))))
    assert "row 3 has no answer (and 6 more)" in said
    worked = made(tmp_path, {"problem": "p", "answer": "so it is 5"}, answer_regex="#### (.+)")
    assert "row 1 has no answer" in stopped(worked)


def test_gold_that_can_not_be_read_is_named_with_the_reason(tmp_path: Path) -> None:
    tests = {"inputs": ["1"], "outputs": ["2"]}
    said = stopped(made(tmp_path, row(1) | {"answer": tests}, row(2) | {"answer": {"inputs": ["1"]}}, kind="code"))
    assert "row 1" not in said
    assert "row 2 has an answer that can't be read as code (no known form" in said
    said = stopped(made(tmp_path, *(row(n) | {"answer": "one\nof many"} for n in range(5)), kind="choice"))
    assert "row 3 has an answer that can't be read as choice (no single letter) (and 2 more)" in said
    check("mine", made(tmp_path, row(1) | {"answer": "one of many"}, kind="text"))


def test_a_generator_may_repeat_itself_but_its_answers_must_be_readable() -> None:
    tiny = {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1}
    sums = GymSource(name="s", format="reasoning_gym", task="chain_sum", size=300, options=tiny)
    assert len({raw.prompt for raw in rows(sums)}) < 300
    check("sums", sums)
    lists = GymSource(name="l", format="reasoning_gym", task="chain_sum", size=5, kind="choice")
    assert "row 5 has" not in stopped(lists)
    assert stopped(lists).endswith("(and 2 more): choose another kind")
    check("sums", lists.model_copy(update={"kind": "gym"}))


def test_another_number_of_rows_than_there_must_be_is_one_line(tmp_path: Path) -> None:
    source = made(tmp_path, row(1), rows=30)
    with pytest.raises(Stop, match="source made has 29 rows and must have 30: get all of it, or say rows: 29"):
        complete([source], {"made": 29})
    complete([source, made(tmp_path, row(1))], {"made": 30})
    # A limit is meant.
    complete([source.model_copy(update={"limit": 3})], {"made": 3})
