"""The funnel of one kind of rows, and the rows that fit a filter. In: Parquet files of a run, read one at a time and
only in the columns that are asked for. Nothing is written."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from numpy.typing import NDArray

from pipeline.errors import Stop
from pipeline.looking.views import View, files
from pipeline.store import Store

Row = dict[str, Any]
Mask = NDArray[np.bool_]
Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which rows are wanted; None asks nothing. `text` is a regular expression in RE2's syntax."""

    drop: str | None = None
    keep: bool = False
    source: str | None = None
    id: str | None = None
    verdict: str | None = None
    generation: str | None = None
    text: str | None = None

    @property
    def asks(self) -> list[str]:
        """The filters that are set."""
        return [each.name for each in fields(self) if getattr(self, each.name) not in (None, False)]


def funnel(store: Store, view: View) -> dict[str, Counter[str]]:
    """Group -> what became of its rows -> how many. Reads the columns of reasons alone."""
    found: dict[str, Counter[str]] = {}
    for name in files(store, view):
        group = _group(name, view)
        table = store.read_columns(name, view.reason) if view.reason else None
        if table is None or not table.num_columns:
            # Without reasons there are splits: they are in the files' names.
            kept = name.rpartition("/")[2].partition("-")[0] if len(view.prefix) > 1 else view.kept
            found.setdefault(group, Counter())[kept] += store.rows(name)
            continue
        reasons = pc.coalesce(
            *(table[column].cast(pa.string()) for column in view.reason if column in table.column_names)
        )
        counts = pc.value_counts(pc.fill_null(reasons, view.kept)).to_pylist()
        found.setdefault(group, Counter()).update({line["values"]: line["counts"] for line in counts})
    return found


def check(store: Store, view: View, wanted: Filter) -> None:
    """Raise Stop when a filter asks for a column that these rows don't have, or its pattern is none."""
    there = store.columns(files(store, view)[0])
    for ask in wanted.asks:
        if not _column(ask, view, there):
            raise Stop(f"--{ask} can't be asked of these rows: they have {', '.join(there)}")
    if wanted.text is not None:
        try:
            pc.match_substring_regex(pa.array([""]), wanted.text)
        except pa.ArrowInvalid as error:
            raise Stop(f"--text {wanted.text!r} is no regular expression: {error}") from error


def select(
    store: Store, view: View, wanted: Filter, *, limit: int | None, seed: int | None, columns: Sequence[str]
) -> Iterator[Row]:
    """The rows that fit, as they lie in the files, or `limit` drawn by `seed`; the same run gives the same draw."""
    names = files(store, view)
    if seed is None:
        left = limit
        for name in names:
            places = _fitting(store, name, view, wanted)[:left]
            yield from _rows(store, name, places, columns)
            left = None if left is None else left - len(places)
            if left == 0:
                return
        return
    for name, places in _drawn(store, names, view, wanted, limit=limit, seed=seed):
        yield from _rows(store, name, places, columns)


def clusters(store: Store, view: View, wanted: Filter, *, limit: int | None, seed: int | None) -> Iterator[list[Row]]:
    """Whole clusters that have a row which fits, each with the row that stays first."""
    found: dict[str, None] = {}
    for name in files(store, view):
        places = _fitting(store, name, view, wanted)
        fitting = store.read_columns(name, ["cluster"])["cluster"].take(pa.array(places))
        found.update(dict.fromkeys(pc.unique(fitting).to_pylist()))
    picked = list(found)
    if seed is not None:
        picked.sort(key=lambda cluster: xxhash.xxh3_64_intdigest(f"{seed}:{cluster}".encode()))
    chosen: dict[str, list[Row]] = {cluster: [] for cluster in picked[:limit]}
    for name in files(store, view):
        table = store.read_columns(name, ["cluster"])
        inside = pc.is_in(table["cluster"], value_set=pa.array(list(chosen), pa.string()))
        places = np.flatnonzero(inside.to_numpy(zero_copy_only=False))
        for row in _rows(store, name, places, view.columns):
            chosen[row["cluster"]].append(row)
    for rows in chosen.values():
        yield sorted(rows, key=lambda row: (not row.get("kept"), -(row.get("similarity") or 0.0), row["id"]))


def _drawn(
    store: Store, names: Sequence[str], view: View, wanted: Filter, *, limit: int | None, seed: int
) -> list[tuple[str, Places]]:
    """Every row draws a number; those with the smallest are taken, in the order of the files."""
    best = np.zeros(0, dtype=[("draw", "f8"), ("file", "i8"), ("row", "i8")])
    for at, name in enumerate(names):
        places = _fitting(store, name, view, wanted)
        chance = np.random.default_rng(xxhash.xxh3_64_intdigest(f"{seed}:{name}".encode())).random(store.rows(name))
        drawn = np.zeros(len(places), dtype=best.dtype)
        drawn["draw"], drawn["file"], drawn["row"] = chance[places], at, places
        best = np.sort(np.concatenate([best, drawn]))[:limit]
    return [(names[at], np.sort(best["row"][best["file"] == at])) for at in np.unique(best["file"])]


def _fitting(store: Store, name: str, view: View, wanted: Filter) -> Places:
    """The numbers of the rows of a file that fit; none where an older file lacks what is asked for."""
    asked = [(ask, _column(ask, view, store.columns(name))) for ask in wanted.asks]
    if not asked:
        return np.arange(store.rows(name))
    if not all(columns for _, columns in asked):
        return np.zeros(0, np.int64)
    table = store.read_columns(name, sorted({column for _, columns in asked for column in columns}))
    masks = [_mask(table, ask, columns, wanted) for ask, columns in asked]
    return np.flatnonzero(reduce(np.logical_and, masks))


def _column(ask: str, view: View, there: Collection[str]) -> list[str]:
    """Which columns a filter is about, as far as the file has them."""
    meant = {
        "drop": [*view.reason, "drop"][:1],
        "keep": ["drop"],
        "id": ["id", "problem_id"],
        "text": view.texts,
    }.get(ask, [ask])
    return [column for column in meant if column in there]


def _mask(table: pa.Table, ask: str, columns: Sequence[str], wanted: Filter) -> Mask:
    value = getattr(wanted, ask)
    if ask == "text":
        return reduce(np.logical_or, [_holds(table[column], value) for column in columns])
    column = table[columns[0]]
    if ask == "keep":
        mask = pc.is_null(column)
    elif ask == "id":
        mask = pc.starts_with(column, value)
    else:
        mask = pc.equal(column.cast(pa.string()), value)
    return _as_mask(mask)


def _as_mask(found: pa.ChunkedArray) -> Mask:
    mask: Mask = pc.fill_null(found, False).to_numpy(zero_copy_only=False)
    return mask


def _holds(column: pa.ChunkedArray, pattern: str) -> Mask:
    """Whether a text, or any message of a list of them, matches."""
    if not pa.types.is_list(column.type):
        return _as_mask(pc.match_substring_regex(column.cast(pa.string()), pattern))
    held = np.zeros(len(column), dtype=bool)
    start = 0
    for chunk in column.chunks:
        contents = pc.struct_field(pc.list_flatten(chunk), "content")
        found = _as_mask(pc.match_substring_regex(contents, pattern))
        held[start + pc.list_parent_indices(chunk).to_numpy()[found]] = True
        start += len(chunk)
    return held


def _rows(store: Store, name: str, places: Places, columns: Sequence[str]) -> list[Row]:
    if not len(places):
        return []
    rows: list[Row] = store.read_columns(name, columns).take(pa.array(places)).to_pylist()
    return rows


def _group(name: str, view: View) -> str:
    """What a file's folder says of its rows, such as the benchmark and the model."""
    return name.rpartition("/")[0] if view.grouped else ""
