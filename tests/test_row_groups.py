"""Parquet in row groups of bounded size: cut by the rows alone, read and written a part at a time."""

import errno
import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rows import trace

from pipeline.choosing.example import examples
from pipeline.record import Trace, to_table
from pipeline.row_groups import PART_BYTES, row_bytes, runs
from pipeline.store import Store

NAME = "traces/shard-00000.parquet"


def large() -> pa.Table:
    """Rows of 0 to 3 MB, one that is larger than a part, and thousands of small ones; 60 MB."""
    sizes = [*np.random.default_rng(1).integers(0, 3 << 20, 28).tolist(), PART_BYTES + 5, 7]
    return pa.table(
        {"n": range(6030), "text": [*(chr(97 + n % 26) * size for n, size in enumerate(sizes)), *["é"] * 6000]}
    )


def written(store: Store, table: pa.Table, ends: Sequence[int]) -> bytes:
    with store.writing(NAME) as write:
        for start, end in zip([0, *ends], [*ends, table.num_rows], strict=True):
            write(table.slice(start, end - start))
    return (Path(store.root) / NAME).read_bytes()


@given(st.lists(st.integers(0, 12)), st.integers(1, 20))
def test_runs_are_as_long_as_they_may_be(sizes: list[int], most: int) -> None:
    expected: list[list[int]] = []
    for at, size in enumerate(sizes):
        if expected and sum(sizes[n] for n in expected[-1]) + size <= most:
            expected[-1].append(at)
        else:
            expected.append([at])
    assert runs(sizes, most=most) == [(run[0], run[-1] + 1) for run in expected]


def test_the_bytes_of_a_row_are_those_of_its_texts_and_numbers() -> None:
    made = [trace(draw=draw, thought="é☃" * draw, found=None) for draw in range(5)]
    table = to_table(made, Trace)
    numbers = sum(field.type.bit_width // 8 for field in table.schema if not pa.types.is_string(field.type))
    texts = [sum(len(v.encode()) for v in line.values() if isinstance(v, str)) for line in table.to_pylist()]
    assert row_bytes(table).tolist() == [size + numbers for size in texts]
    assert row_bytes(table.slice(2, 2)).tolist() == [size + numbers for size in texts[2:4]]
    nested = examples(made, student_tokens=[1] * 5, agreement=[None] * 5, templates={}).select(["messages"])
    texts = [sum(len(m[k].encode()) for m in line["messages"] for k in m) for line in nested.to_pylist()]
    assert row_bytes(nested).tolist() == texts
    assert row_bytes(nested.slice(1, 3)).tolist() == texts[1:4]
    assert sum(texts) <= nested.nbytes
    assert row_bytes(pa.table({"none": [None, None], "list": [[], None]})).tolist() == [0, 0]


def test_a_file_is_the_same_in_whatever_tables_its_rows_come(tmp_path: Path) -> None:
    store, table = Store(str(tmp_path)), large()
    whole = written(store, table, [])
    with pq.ParquetFile(tmp_path / NAME) as file:
        groups = [file.read_row_group(group) for group in range(file.num_row_groups)]
    sizes = [sum(len(text.encode()) + 8 for text in group["text"].to_pylist()) for group in groups]
    assert [size > PART_BYTES for size in sizes].count(True) == 1
    assert [len(group) for group in groups if sum(map(len, group["text"].to_pylist())) > PART_BYTES] == [1]
    for one, other in pairwise(groups):
        assert row_bytes(one).sum() + row_bytes(other)[0] > PART_BYTES
    assert pa.concat_tables(groups).equals(table)
    assert written(store, table, [1, 2, 3, 10, 28, 29, 30, 6000]) == whole
    assert written(store, table, [0, 0, 17, 6030]) == whole
    store.write_table(NAME, table)
    assert (tmp_path / NAME).read_bytes() == whole


def test_a_small_file_is_the_same_in_whatever_tables_its_rows_come(tmp_path: Path) -> None:
    store, table = Store(str(tmp_path)), to_table([trace(draw=draw) for draw in range(40)], Trace)
    assert written(store, table, [1, 30]) == written(store, table, [])
    pq.write_table(table, tmp_path / "peer", compression="lz4", use_dictionary=False, write_statistics=False)
    assert (tmp_path / NAME).read_bytes() == (tmp_path / "peer").read_bytes()


@pytest.mark.parametrize("ours", [True, False])
def test_parts_are_the_rows_in_order_and_bounded(tmp_path: Path, ours: bool) -> None:
    store, table = Store(str(tmp_path)), large()
    if ours:
        store.write_table(NAME, table)
    else:
        (tmp_path / "traces").mkdir()
        pq.write_table(table, tmp_path / NAME, use_dictionary=False)
    found = list(store.read_parts(NAME))
    assert pa.concat_tables(found).equals(table)
    if ours:
        assert max(part.nbytes for part in found if len(part) > 1) < 1.1 * PART_BYTES
    else:
        # Nothing is known of a row but the average.
        assert len(found) >= 3
    rows = np.array([0, 3, 27, 28, 29, 500, 6029])
    assert pa.concat_tables(store.read_parts(NAME, rows)).equals(table.take(pa.array(rows)))
    few = list(store.read_parts(NAME, np.array([2])))
    assert [part["n"].to_pylist() for part in few] == [[2]]


def test_no_rows_are_one_part_and_no_table_is_no_file(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    empty = to_table([], Trace)
    store.write_table(NAME, empty)
    assert [part.schema for part in store.read_parts(NAME)] == [empty.schema]
    assert [part.num_rows for part in store.read_parts(NAME, np.zeros(0, dtype=np.int64))] == [0]
    with store.writing("a.parquet"):
        pass
    assert os.listdir(tmp_path) == ["traces"]
    with pytest.raises(FileNotFoundError, match=r"a\.parquet") as missing:
        list(store.read_parts("a.parquet"))
    assert missing.value.errno == errno.ENOENT


def write_and_raise(store: Store, table: pa.Table, error: Exception) -> None:
    with store.writing(NAME) as write:
        write(table)
        raise error


def test_what_breaks_off_after_a_part_leaves_the_old_file(tmp_path: Path) -> None:
    store, table = Store(str(tmp_path)), large()
    store.write_table(NAME, table.slice(0, 3))
    for error in (KeyError("other"), FileNotFoundError(errno.ENOENT, "gone", "what it is made of")):
        with pytest.raises(type(error)) as raised:
            write_and_raise(store, table, error)
        assert raised.value is error
    assert store.read_table(NAME).num_rows == 3
    assert os.listdir(tmp_path / "traces") == ["shard-00000.parquet"]
