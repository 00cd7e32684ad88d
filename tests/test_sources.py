"""Sources: every row as it is, and one line that says what is wrong and where."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from pipeline.errors import BadRecipe, Stop
from pipeline.sources import Fields, FileSource, GymSource, Raw, Source, read, size_of, slices


def jsonl(path: Path, *lines: Any) -> str:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return str(path)


def file(path: str, **more: Any) -> FileSource:
    return FileSource(**{"name": "made", "format": "jsonl", "path": path, **more})


def gym(**more: Any) -> GymSource:
    return GymSource(**{"name": "sums", "format": "reasoning_gym", "task": "chain_sum", "size": 10, **more})


def rows(source: Source) -> list[Raw]:
    return [raw for part in slices(source) for raw in read(source, part)]


def test_a_jsonl_file_gives_its_rows_in_order(tmp_path: Path) -> None:
    lines = [{"problem": f" p{n}\n", "answer": f"{n}", "more": [n]} for n in range(3)]
    source = file(jsonl(tmp_path / "a.jsonl", *lines[:2], "", lines[2]))
    assert rows(source) == [Raw(f"p{n}", f"{n}", None) for n in range(3)]
    assert size_of(source) == 3


def test_fields_are_mapped(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", {"q": "p", "a": "5", "s": "worked"})
    assert rows(file(path, fields=Fields(prompt="q", answer="a", solution="s"))) == [Raw("p", "5", "worked")]


def test_answers_may_be_numbers(tmp_path: Path) -> None:
    answers = [70, 70.0, 0.5, 0, -3, " 7 ", "", None, [1], {"a": 1}]
    path = jsonl(tmp_path / "a.jsonl", *({"problem": "p", "answer": answer} for answer in answers))
    assert [raw.answer for raw in rows(file(path))] == ["70", "70", "0.5", "0", "-3", "7", None, None, None, None]


def test_the_tests_of_a_code_problem_may_be_objects(tmp_path: Path) -> None:
    tests = [[{"input": "1\n", "output": "2"}], {"asserts": ["f(1) == 2"]}, "[1]", [], {}]
    path = jsonl(tmp_path / "a.jsonl", *({"problem": "p", "answer": answer} for answer in tests))
    found = [raw.answer for raw in rows(file(path, kind="code"))]
    assert [answer and json.loads(answer) for answer in found] == [*tests[:2], [1], None, None]


def test_the_answer_is_taken_out_of_its_field(tmp_path: Path) -> None:
    answers = ["It is 4.\n#### 42", "#### 1\n#### 1,042", "no mark", "#### "]
    path = jsonl(tmp_path / "a.jsonl", *({"problem": "p", "answer": answer} for answer in answers))
    assert [raw.answer for raw in rows(file(path, answer_regex="#### (.+)"))] == ["42", "1,042", None, None]


def test_a_wrong_answer_regex_is_told_with_the_fix() -> None:
    for wrong, said in (("#### .+", "has 0 groups"), ("(a)(b)", "has 2 groups"), ("(", "no regular expression")):
        with pytest.raises(ValidationError, match=said):
            file("a.jsonl", answer_regex=wrong)


def test_a_broken_line_is_named_with_its_file_and_number(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "bad.jsonl", {"problem": "p", "answer": "5"}, "", '{"problem": "p", "ans')
    with pytest.raises(Stop, match=r"bad\.jsonl line 3 is not JSON") as stopped:
        rows(file(path))
    assert "\n" not in str(stopped.value)
    path = jsonl(tmp_path / "list.jsonl", {"problem": "p", "answer": "5"}, "[1]")
    with pytest.raises(Stop, match=r"list\.jsonl line 2 is list"):
        rows(file(path))


def test_a_missing_field_is_told_with_the_fields_there_are(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", {"question": "p", "answer": "5"})
    with pytest.raises(Stop, match=r"source made: no field 'problem'; the first row has: question, answer"):
        rows(file(path))


def test_a_later_row_without_the_field_is_a_row_without_it(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", {"problem": "p", "answer": "5"}, {"problem": "q"}, {"answer": "6"})
    assert rows(file(path)) == [Raw("p", "5", None), Raw("q", None, None), Raw(None, "6", None)]


def test_a_pattern_reads_all_its_files_in_order(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        jsonl(tmp_path / f"{name}.jsonl", *({"problem": f"{name}{n}", "answer": "5"} for n in range(2)))
    jsonl(tmp_path / "other.txt", "no JSON")
    source = file(f"{tmp_path}/*.jsonl")
    assert [raw.prompt for raw in rows(source)] == ["a0", "a1", "b0", "b1", "c0", "c1"]
    assert [raw.prompt for raw in rows(file(f"{tmp_path}/*.jsonl", limit=1))] == ["a0", "b0", "c0"]
    assert (size_of(source), size_of(file(f"{tmp_path}/*.jsonl", limit=1))) == (6, 3)


def test_a_limit_reads_no_further(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", *({"problem": f"p{n}", "answer": "5"} for n in range(3)), "{broken")
    assert len(rows(file(path, limit=3))) == 3


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Stop, match=r"source made: no file matches .*nowhere\.jsonl"):
        slices(file(f"{tmp_path}/nowhere.jsonl"))


def test_a_folder_in_the_place_of_a_file_is_one_line(tmp_path: Path) -> None:
    for form in ("jsonl", "parquet"):
        with pytest.raises(Stop, match=r"made|pytest"):
            rows(file(str(tmp_path), format=form))
        with pytest.raises(Stop, match=r"made|pytest"):
            size_of(file(str(tmp_path), format=form))


def test_a_parquet_file_gives_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"problem": ["p0", "p1", None], "answer": [5, None, 7]}), path)
    source = file(str(path), format="parquet")
    assert rows(source) == [Raw("p0", "5", None), Raw("p1", None, None), Raw(None, "7", None)]
    assert size_of(source) == 3
    assert len(rows(file(str(path), format="parquet", limit=2))) == 2


def test_a_missing_number_is_no_answer(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"problem": ["p"] * 3, "answer": [5.0, float("nan"), None]}), path)
    assert [raw.answer for raw in rows(file(str(path), format="parquet"))] == ["5", None, None]


def test_a_parquet_file_that_is_none_is_named(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "bad.parquet", "not Parquet at all, but long enough to look for a footer in it")
    for use in (rows, size_of):
        with pytest.raises(Stop, match=r"bad\.parquet") as stopped:
            use(file(path, format="parquet"))
        assert "\n" not in str(stopped.value)


def test_a_generated_source_is_the_same_every_time_and_in_any_parts() -> None:
    first = rows(gym())
    assert first == rows(gym())
    assert len(first) == 10
    assert first != rows(gym(seed=1))
    assert all(raw.prompt and raw.answer for raw in first)
    # A cluster reads the parts side by side: row 3 is row 3 whatever was read before it.
    assert next(iter(read(gym(), slices(gym())[0]))) == first[0]
    assert rows(gym(limit=3)) == first[:3]
    assert size_of(gym(limit=3)) == 3


def test_a_large_generated_source_is_cut_into_parts_without_gaps() -> None:
    parts = slices(gym(size=4500))
    assert len(parts) > 1
    assert [part.start for part in parts] == [0, *(part.stop for part in parts[:-1])]
    assert parts[-1].stop == 4500


def test_generated_problems_have_the_answers_they_claim() -> None:
    seen = 0
    for raw in rows(gym(size=50)):
        terms = str(raw.prompt).split(":")[-1].replace("=", "").strip()
        assert set(terms) <= set("0123456789+- "), terms
        assert eval(terms) == int(str(raw.answer))
        seen += 1
    assert seen == 50


def test_an_unknown_task_or_option_is_a_wrong_recipe() -> None:
    for wrong in ({"task": "no_such_task"}, {"options": {"no_such_option": 1}}, {"options": {"min_terms": -1}}):
        with pytest.raises(BadRecipe, match="source sums: reasoning-gym task"):
            slices(gym(**wrong))
