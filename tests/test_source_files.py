"""Slices of files: every row once, in order, whatever the size of a slice; rows that can't be read, one by one."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import Stop
from pipeline.source_files import Unreadable, jsonl_rows, jsonl_slices, parquet_rows, parquet_slices
from pipeline.sources import FileSource, read, slices


@pytest.mark.parametrize("end", ["", "\n", "\n\n"])
@pytest.mark.parametrize("rows", [1, 2, 3, 7, 100])
def test_the_slices_of_a_jsonl_file_hold_every_row_once_and_in_order(tmp_path: Path, rows: int, end: str) -> None:
    path = tmp_path / "a.jsonl"
    held = [{"n": n, "text": "ü\n" * n} for n in range(7)]
    path.write_text("\n".join(json.dumps(row) for row in held) + end)
    parts = jsonl_slices(str(path), rows=rows)
    assert [row for part in parts for row in jsonl_rows(part)] == held
    assert len(parts) <= -(-9 // rows)
    assert [part.start for part in parts] == [n * rows for n in range(len(parts))]


def test_lines_keep_their_numbers_in_every_slice(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"n": 0}\n\n{"n": 2}\n{"n": "\xff"}\n[4]\n')
    for rows in (1, 2, 100):
        found = [row for part in jsonl_slices(str(path), rows=rows) for row in jsonl_rows(part)]
        assert found[:2] == [{"n": 0}, {"n": 2}]
        assert [row.why.split(" is ")[0] for row in found[2:]] == [f"{path} line 4", f"{path} line 5"]


def test_the_slices_of_a_parquet_file_are_row_groups(tmp_path: Path) -> None:
    path = str(tmp_path / "a.parquet")
    pq.write_table(pa.table({"n": list(range(25))}), path, row_group_size=4)
    for rows in (1, 8, 9, 1000):
        parts = parquet_slices(path, rows=rows)
        assert [row["n"] for part in parts for row in parquet_rows(part)] == list(range(25))
    assert [part.start for part in parquet_slices(path, rows=8)] == [0, 8, 16, 24]


def test_a_parquet_row_that_is_not_utf8_hides_no_other(tmp_path: Path) -> None:
    path = str(tmp_path / "a.parquet")
    bad = pa.array([b"fine", b"\xff\xfe", None], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"problem": bad}), path)
    rows = [row for part in parquet_slices(path) for row in parquet_rows(part)]
    assert rows[0] == {"problem": "fine"}
    assert isinstance(rows[1], Unreadable)
    assert "not UTF-8" in rows[1].why
    assert rows[2] == {"problem": None}


def test_a_bad_row_stops_the_run_or_is_dropped_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"problem": "p", "answer": 1}\n{"problem": "\xff", "answer": 2}\n')

    def rows(**settings: str) -> list[str | None]:
        source = FileSource(name="made", format="jsonl", path=str(path), **settings)
        return [raw.unreadable for part in slices(source) for raw in read(source, part)]

    with pytest.raises(Stop, match=r"a\.jsonl line 2 is not JSON .* or set bad_rows: drop for source made"):
        rows()
    first, second = rows(bad_rows="drop")
    assert first is None
    assert second is not None
    assert "line 2" in second


def test_fields_with_dots_go_into_nested_rows_and_nulls_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = [
        {"messages": [{"content": "What is 2 + 2?"}, {"content": "4"}], "meta": {"topic": "sums"}},
        {"messages": [{"content": None}], "meta": None},
        {"messages": None, "meta": {"topic": {"deep": None}}},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    fields = {"prompt": "messages.0.content", "answer": "messages.1.content", "subject": "meta.topic"}
    source = FileSource(name="made", format="jsonl", path=str(path), fields=fields)
    found = [(raw.prompt, raw.answer, raw.subject) for part in slices(source) for raw in read(source, part)]
    assert found == [("What is 2 + 2?", "4", "sums"), (None, None, None), (None, None, None)]


@pytest.mark.parametrize("rows", [1, 2, 3, 100])
@pytest.mark.parametrize("limit", [1, 2, 3, 4, 6, 7, 1000])
def test_a_limit_counts_rows_and_not_empty_lines_in_any_slices(tmp_path: Path, limit: int, rows: int) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\n{"n": 0}\n \t\r\n{"n": 1}\n[2]\n\n\n{"n": 3}\n{"n": 4}\n\x0c\n{"n": 5}')
    held = [{"n": 0}, {"n": 1}, "line 5 is list", {"n": 3}, {"n": 4}, {"n": 5}][:limit]
    parts = jsonl_slices(str(path), rows=rows, limit=limit)
    found = [row for part in parts for row in jsonl_rows(part)]
    assert [row.why.split("a.jsonl ")[1].split(",")[0] if isinstance(row, Unreadable) else row for row in found] == held
    assert [part.start for part in parts] == [n * rows for n in range(len(parts))]
    line_of_last = [2, 4, 5, 8, 9, 11][min(limit, 6) - 1]
    assert len(parts) == -(-line_of_last // rows)


def test_a_limit_looks_no_further_in_a_jsonl_file(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"n": 0}\n{"n": 1}\n' + b"broken" * 10_000)
    assert [part.stop for part in jsonl_slices(str(path), limit=2)] == [2]
    assert jsonl_slices(str(path), rows=1, limit=2)[-1].place == 9


@pytest.mark.parametrize("rows", [1, 4, 8, 9, 1000])
def test_a_limit_cuts_a_parquet_file_within_a_row_group(tmp_path: Path, rows: int) -> None:
    path = str(tmp_path / "a.parquet")
    pq.write_table(pa.table({"n": list(range(25))}), path, row_group_size=4)
    for limit in (1, 3, 4, 5, 8, 24, 25, 26, 1000):
        parts = parquet_slices(path, rows=rows, limit=limit)
        assert [row["n"] for part in parts for row in parquet_rows(part)] == list(range(min(limit, 25)))
        assert len(parts) == -(-min(limit, 25) // max(4, -(-rows // 4) * 4))


def test_an_empty_file_has_no_rows_whatever_the_limit(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("")
    pq.write_table(pa.table({"n": pa.array([], pa.int64())}), tmp_path / "a.parquet")
    for limit in (None, 1, 5):
        assert [list(jsonl_rows(part)) for part in jsonl_slices(str(tmp_path / "a.jsonl"), limit=limit)] == [[]]
        assert [list(parquet_rows(part)) for part in parquet_slices(str(tmp_path / "a.parquet"), limit=limit)] == [[]]
