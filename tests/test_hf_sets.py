"""Hugging Face data sets: the same rows in the same order whatever the size of a slice; one line for what is wrong."""

import io
import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline import hf_sets
from pipeline.errors import Stop
from pipeline.hf_sets import HfSet, hf_rows, hf_slices
from pipeline.settings import fingerprint
from pipeline.sources import HfSource, Raw, content, read, size_of, slices

ROWS = [
    {
        "problem": f" What is {n} + {n}? ",
        "answer": [str(2 * n), "", None][n % 3],
        "id": n,
        "score": [0.5, None, float(n)][n % 3],
        "messages": [{"role": "user", "content": f"q{n}"}, {"role": "assistant", "content": None if n % 5 else "a"}],
        "tags": {"subject": f"s{n % 2}"},
    }
    for n in range(23)
]
FIELDS = {"prompt": "messages.0.content", "answer": "answer", "solution": "problem", "subject": "tags.subject"}


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty store of data sets in place of the user's."""
    import datasets

    folder = tmp_path / "stored"
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder)
    return folder


def written(folder: Path, *parts: list[dict[str, Any]], split: str = "train") -> str:
    import datasets

    folder.mkdir(exist_ok=True)
    for number, rows in enumerate(parts):
        path = folder / f"{split}-{number:05d}-of-{len(parts):05d}.parquet"
        datasets.Dataset.from_list(rows).to_parquet(str(path))
    return str(folder)


def the_set(path: str, **more: Any) -> HfSet:
    return HfSet(**{"source": "made", "path": path, "config": None, "split": "train", "revision": None, **more})


def source(path: str, **more: Any) -> HfSource:
    return HfSource(**{"name": "made", "format": "hf", "path": path, **more})


def all_rows(which: HfSet, **how: Any) -> list[dict[str, Any]]:
    parts = hf_slices(which, **how)
    return [row for part in parts for row in hf_rows(which, part)]


def test_the_slices_of_a_set_hold_every_row_once_and_in_order(tmp_path: Path) -> None:
    which = the_set(written(tmp_path / "set", ROWS[:9], ROWS[9:10], ROWS[10:]))
    streamed = replace(which, stream=True)
    assert all_rows(streamed) == ROWS
    for rows in (1, 4, 9, 22, 23, 24, 1000):
        parts = hf_slices(which, rows=rows)
        assert [(part.start, part.stop) for part in parts] == [
            (start, min(start + rows, 23)) for start in range(0, 23, rows)
        ]
        # A cluster reads them in any order.
        read_back = {part.start: list(hf_rows(which, part)) for part in reversed(parts)}
        assert [row for start in sorted(read_back) for row in read_back[start]] == ROWS
    # A run that began with a stored set may go on with a streamed one.
    parts = hf_slices(which, rows=9)
    assert [row for part in parts for row in hf_rows(streamed, part)] == ROWS


def test_a_limit_gives_the_first_rows_in_slices(tmp_path: Path, store: Path) -> None:
    which = the_set(written(tmp_path / "set", ROWS[:9], ROWS[9:]))
    for limit in (1, 8):
        assert all_rows(which, limit=limit, rows=8) == ROWS[:limit]
    # A few rows of a large set must not fetch and store all of it.
    assert not list(store.rglob("*.arrow"))
    for limit in (9, 16, 17, 22, 23, 24, 1000):
        assert len(hf_slices(which, limit=limit, rows=8)) == -(-min(limit, 23) // 8)
        assert all_rows(which, limit=limit, rows=8) == ROWS[:limit]


def test_one_slice_or_many_give_the_same_problems(tmp_path: Path) -> None:
    path = written(tmp_path / "set", ROWS[:9], ROWS[9:])
    made = source(path, fields=FIELDS, limit=20)
    (whole,) = slices(made)
    once = list(read(made, whole))
    assert once[:2] == [
        Raw("q0", "0", "What is 0 + 0?", id="0", subject="s0"),
        Raw("q1", None, "What is 1 + 1?", id="1", subject="s1"),
    ]
    assert (len(once), size_of(made)) == (20, 20)
    many = hf_slices(the_set(path), limit=20, rows=3)
    assert len(many) == 7
    assert [raw for part in many for raw in read(made, part)] == once


def test_a_set_is_stored_once_and_a_streamed_one_is_not(tmp_path: Path, store: Path) -> None:
    path = written(tmp_path / "set", ROWS)
    assert len(all_rows(the_set(path, stream=True))) == 23
    assert not list(store.rglob("*.arrow"))
    parts = hf_slices(the_set(path), rows=5)
    (stored,) = store.rglob("*.arrow")
    changed = stored.stat().st_mtime_ns
    for part in parts:
        assert list(hf_rows(the_set(path), part)) == ROWS[part.start : part.stop]
    assert [file.stat().st_mtime_ns for file in store.rglob("*.arrow")] == [changed]


def test_how_a_set_is_read_makes_no_other_data() -> None:
    # What recipes had before sets were cut into slices: their runs must not be curated anew.
    plain = {"name": "numina", "path": "AI-MO/NuminaMath-1.5", "licence": "Apache-2.0"}
    before = "dd3180e59b67a31d8be7d4d0fe637186"
    assert fingerprint(source(**plain)) == fingerprint(source(**plain, stream=True)) == before
    assert fingerprint(source(**plain, split="test")) != before


def test_an_empty_set_has_no_rows(tmp_path: Path) -> None:
    import datasets

    (tmp_path / "set").mkdir()
    datasets.Dataset.from_dict({"problem": [], "answer": []}).to_parquet(str(tmp_path / "set" / "train.parquet"))
    which = the_set(str(tmp_path / "set"))
    assert len(hf_slices(which)) == 1
    for how in ({}, {"limit": 1}, {"limit": 5, "rows": 2}):
        assert all_rows(which, **how) == all_rows(replace(which, stream=True), **how) == []


def test_files_that_differ_are_read_as_the_library_joins_them(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    rows = [{"problem": "p", "answer": "1", "more": 1}, {"problem": "q", "answer": 2}]
    for name, row in zip("ab", rows, strict=True):
        (tmp_path / "set" / f"{name}.jsonl").write_text(json.dumps(row) + "\n")
    joined = [rows[0], {"problem": "q", "answer": "2", "more": None}]
    which = the_set(str(tmp_path / "set"))
    assert all_rows(which) == all_rows(replace(which, stream=True)) == joined
    (tmp_path / "set" / "c.jsonl").write_text(json.dumps(rows[0] | {"new": "column"}) + "\n")
    for stream in (True, False):
        with pytest.raises(Stop, match=r"can't be read: Couldn't cast .* column names don't match"):
            all_rows(replace(which, stream=stream))


def test_what_is_wrong_with_a_set_is_one_line(tmp_path: Path, store: Path) -> None:
    path = written(tmp_path / "set", ROWS)
    (tmp_path / "none").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "train.parquet").write_text("no Parquet, but long enough to look for a footer in it")
    for wrong, said in (
        ({"path": f"{tmp_path}/nowhere"}, "nowhere"),
        ({"path": f"{tmp_path}/none"}, "doesn't contain any data files"),
        ({"path": f"{tmp_path}/bad"}, "Parquet magic bytes not found"),
        ({"split": "test"}, "no split 'test'; there are train"),
        ({"config": "main"}, "'main' not found"),
    ):
        for stream, limit in ((False, None), (True, None), (False, 1), (False, 2)):
            with pytest.raises(Stop) as stopped:
                all_rows(the_set(**{"path": path, **wrong}, stream=stream), limit=limit, rows=1)
            assert str(stopped.value).startswith("source made: data set ")
            assert said in str(stopped.value) or ("split" in wrong and "test" in str(stopped.value))
            assert "\n" not in str(stopped.value)
    assert not list(store.rglob("*.arrow"))


def test_a_script_and_a_format_without_its_package_are_one_line_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, file in (("old", "old.py"), ("tables", "train.h5")):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_text("")
    monkeypatch.setitem(sys.modules, "h5py", None)
    for name, said in (
        ("old", "Dataset scripts are no longer supported, but found old.py"),
        ("tables", "import of h5py halted; None in sys.modules"),
    ):
        for stream in (True, False):
            with pytest.raises(Stop) as stopped:
                all_rows(the_set(f"{tmp_path}/{name}", stream=stream))
            assert str(stopped.value) == f"source made: data set {tmp_path}/{name} can't be read: {said}"


def test_a_set_that_lost_rows_since_it_was_cut_is_told(tmp_path: Path) -> None:
    which = the_set(written(tmp_path / "set", ROWS))
    last = replace(hf_slices(which, rows=20)[-1], stop=24)
    with pytest.raises(Stop, match="it has 23 rows here and had 24 or more when it was cut into slices"):
        list(hf_rows(which, last))


OTHER_FILES = "can't be read: its files here are not those that it was cut into slices from; give every node the same"


def test_a_folder_that_was_edited_since_it_was_cut_is_not_read_on(tmp_path: Path) -> None:
    which = the_set(written(tmp_path / "set", ROWS))
    first, second = hf_slices(which, rows=12)
    assert list(hf_rows(which, first)) == ROWS[:12]
    written(tmp_path / "set", [row | {"problem": "edited"} for row in ROWS])
    # Who began before has its copy; who comes now, as any new process, must not make another one of the new rows.
    assert list(hf_rows(which, second)) == ROWS[12:]
    hf_sets._builder.cache_clear()
    for again in (which, replace(which, stream=True)):
        with pytest.raises(Stop, match=OTHER_FILES):
            list(hf_rows(again, second))
    assert {row["problem"] for row in all_rows(which, rows=12)} == {"edited"}


def test_nodes_may_have_copies_of_a_folder_but_no_differing_ones(tmp_path: Path) -> None:
    which = the_set(written(tmp_path / "set", ROWS))
    parts = hf_slices(which, rows=12)
    for place, change in (("same", None), ("edited", "train-00000-of-00001.parquet"), ("split", "test.parquet")):
        shutil.copytree(which.path, tmp_path / place, copy_function=shutil.copyfile)
        os.utime(tmp_path / place / "train-00000-of-00001.parquet", (1, 1))
        here = replace(which, path=f"{tmp_path}/{place}")
        if change is None:
            assert [row for part in parts for row in hf_rows(here, part)] == ROWS
            continue
        rows = [ROWS[0] | {"problem": "another"}, *ROWS[1:]]
        shutil.copyfile(
            Path(written(tmp_path / f"made-{place}", rows)) / "train-00000-of-00001.parquet", tmp_path / place / change
        )
        for part in parts:
            with pytest.raises(Stop, match=OTHER_FILES):
                list(hf_rows(here, part))


def test_what_the_files_of_a_folder_hold_counts_as_their_names_do(tmp_path: Path) -> None:
    made = source(written(tmp_path / "set", ROWS[:9], ROWS[9:]))
    (tmp_path / "set" / "data").mkdir()
    before = content(made)
    assert len(before) == 32
    # What a download leaves there, and what the set's own tools keep, is no part of it.
    (tmp_path / "set" / ".cache" / "huggingface").mkdir(parents=True)
    (tmp_path / "set" / ".cache" / "huggingface" / "train.metadata").write_text("1700000000")
    os.utime(tmp_path / "set" / "train-00000-of-00002.parquet", (1, 1))
    assert content(made) == content(source(str(shutil.copytree(made.path, tmp_path / "copy")))) == before
    seen = {before}
    (tmp_path / "set" / "README.md").write_text("---\nlicense: mit\n---\n")
    seen.add(content(made))
    (tmp_path / "set" / "data" / "test.jsonl").write_text("{}\n")
    seen.add(content(made))
    (tmp_path / "set" / "data" / "test.jsonl").write_text("[]\n")
    seen.add(content(made))
    (tmp_path / "set" / "data" / "test.jsonl").rename(tmp_path / "set" / "data" / "validation.jsonl")
    seen.add(content(made))
    (tmp_path / "set" / ".huggingface.yaml").write_text("configs: []\n")
    seen.add(content(made))
    assert len(seen) == 6
    # A name on the Hub is told by its name and revision.
    assert content(source("AI-MO/NuminaMath-1.5")) == ""


def with_images(folder: Path) -> str:
    """Two rows whose only sound column is the first; the second row's image ends half way."""
    import datasets
    from PIL import Image

    file = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(file, "PNG")
    whole = {"bytes": file.getvalue(), "path": "a.png"}
    broken = {"bytes": file.getvalue()[:1000], "path": "b.png"}
    columns = {"a.b": ["p", "q"], "image": [whole, broken], "shown": [[whole], [broken]], "said": [{"by": "x"}, None]}
    kinds = {
        "a.b": datasets.Value("string"),
        "image": datasets.Image(),
        "shown": datasets.List(datasets.Image()),
        "said": {"by": datasets.Value("string")},
    }
    folder.mkdir()
    made = datasets.Dataset.from_dict(columns, features=datasets.Features(kinds))
    made.to_parquet(str(folder / "train.parquet"))
    return str(folder)


def test_columns_that_no_field_names_are_not_decoded(tmp_path: Path) -> None:
    path = with_images(tmp_path / "set")
    fields = {"prompt": "a.b", "answer": "said.by"}
    for stream in (True, False):
        with pytest.raises(Stop, match="can't be read: image file is truncated"):
            all_rows(the_set(path, stream=stream))
        for split in ("train", "all"):
            made = source(path, fields=fields, stream=stream, split=split)
            assert [raw for part in slices(made) for raw in read(made, part)] == [
                Raw("p", "x", None),
                Raw("q", None, None),
            ]


def test_a_field_that_is_no_column_is_told_with_those_there_are(tmp_path: Path) -> None:
    path = with_images(tmp_path / "set")
    for stream in (True, False):
        for fields, missing in (
            ({"prompt": "a.b", "answer": "gold"}, "gold"),
            ({"prompt": "problem", "answer": "gold", "id": None}, "problem"),
        ):
            made = source(path, fields=fields, stream=stream)
            with pytest.raises(Stop) as stopped:
                [raw for part in slices(made) for raw in read(made, part)]
            assert str(stopped.value) == (
                f"source made: no field '{missing}'; the first row has: a.b, image, shown, said"
            )
        # Where no column is asked for there are as many rows.
        assert len(all_rows(the_set(path, stream=stream, columns=frozenset(["gold"])), rows=1)) == 2


def test_files_that_lack_a_column_give_none_for_it(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    for name, row in (("a", {"problem": "p", "answer": "1", "n": 1}), ("b", {"problem": "q", "n": 2})):
        (tmp_path / "set" / f"{name}.jsonl").write_text(json.dumps(row) + "\n")
    told = ["problem", "answer", "n"]
    kinds = "".join(f"  - name: {name}\n    dtype: {'int64' if name == 'n' else 'string'}\n" for name in told)
    for card in ("", f"---\ndataset_info:\n  features:\n{kinds}---\n"):
        (tmp_path / "set" / "README.md").write_text(card)
        for stream in (True, False):
            made = source(str(tmp_path / "set"), stream=stream)
            rows = [raw for part in slices(made) for raw in read(made, part)]
            assert rows == [Raw("p", "1", None), Raw("q", None, None)]
