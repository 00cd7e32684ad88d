"""Choose on the cluster: judge shard by shard, select in one task, write shard by shard.

    traces/ -> choosing/*/candidates, selected -> dataset/train-*, validation-*, preference/pairs-*; choices/

Texts are read by the first and the last stage, a part of a shard at a time; between them only small columns move, and
the driver sees counts. Each stage's file is its own done mark, so that a run that was killed goes on where it was.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import ray

from cluster.each import each
from cluster.models import tokenizer_of
from cluster.placement import on
from pipeline.alike.match import Matched
from pipeline.choose import ChooseSettings
from pipeline.choosing.bounds import DIMENSIONS
from pipeline.choosing.candidate import CANDIDATE_SCHEMA
from pipeline.choosing.figures import Figures, figures_of
from pipeline.choosing.judge import Leaks, Rules, judge
from pipeline.choosing.select import CHOSEN, Selection, select
from pipeline.choosing.written import ORDER, TOLD, example_parts, pair_parts, read_shard
from pipeline.errors import Stop
from pipeline.record import to_table
from pipeline.row_groups import runs
from pipeline.store import Store

CHOICES = "choices"
_WORK = "choosing"
FAILED = f"{_WORK}/failed"
"""Where the candidates of the last choice that could not be made are kept to be looked at."""
_SAME_FOR_MANY = ("generation", "source", "licence", "subject", "level")
_CHARACTERS_AT_ONCE = 1 << 20
_REASONS_SHOWN = 5

_tokenizer = lru_cache(maxsize=1)(tokenizer_of)
"""Opened once a process: tasks of many shards run in it."""


@dataclass(frozen=True, slots=True)
class Choosing:
    """What the stages need to know. `templates` gives, by generation, the prompt that is trained under."""

    store: Store
    settings: ChooseSettings
    seed: int
    student: str
    """The model whose tokenizer counts."""
    templates: Mapping[str, str]
    name: str
    fingerprint: str
    """Which choice it is: what was judged for another is no use to it."""

    @property
    def candidates(self) -> str:
        """The folder of judged traces."""
        return f"{_WORK}/{self.fingerprint}/candidates"

    @property
    def selected(self) -> str:
        """The folder of what became of them."""
        return f"{_WORK}/{self.fingerprint}/selected"

    @property
    def matches(self) -> str:
        """The folder of traces that recite a held-out problem, with both texts."""
        return f"{_WORK}/{self.fingerprint}/matches"


def choose(
    what: Choosing, *, held_out: frozenset[str], rules: Rules, leaks: Leaks, begin: Callable[[], None]
) -> Figures:
    """Write dataset/ and choices/ from traces/. Raises Stop when what is asked for can't be made.

    `held_out` are the ids of the benchmarks' problems, `rules` are those on one trace, `leaks` looks traces up among
    the benchmarks. `begin` makes way for what is written; before it is called an earlier choice is whole.
    """
    names = what.store.names("traces", ".parquet")
    asked = ray.put((held_out, rules, leaks))

    def judged(name: str) -> None:
        held_out, rules, leaks = ray.get(asked)
        _judge(what, name, held_out=held_out, rules=rules, leaks=leaks)

    for _ in each(_missing(what, names, what.candidates), judged, name=f"{what.name}-judge"):
        pass
    found = ray.get(ray.remote(num_cpus=1, **on("cpu"))(_select).remote(what, names))
    if isinstance(found, Stop):
        raise found
    begin()

    def written(name: str) -> None:
        _write(what, name)

    for _ in each(_missing(what, names, CHOICES), written, name=f"{what.name}-write"):
        pass
    return found


def forget(store: Store) -> None:
    """Delete what lies between the stages of this choice and of those that came to nothing."""
    store.delete_folder(_WORK)


def _missing(what: Choosing, names: Sequence[str], folder: str) -> list[str]:
    done = set(what.store.names(folder, ".parquet"))
    return [name for name in names if name not in done]


def _judge(what: Choosing, name: str, *, held_out: frozenset[str], rules: Rules, leaks: Leaks) -> None:
    with what.store.writing(f"{what.matches}/{name}") as write:
        table = judge(
            lambda: what.store.read_parts(f"traces/{name}"),
            settings=what.settings,
            seed=what.seed,
            held_out=held_out,
            count=lambda texts: _count(what.student, texts),
            rules=rules,
            leaks=leaks,
            found=lambda recited: write(to_table(recited, Matched)),
        )
    what.store.write_table(f"{what.candidates}/{name}", table)


def _count(model: str, texts: Sequence[str]) -> list[int]:
    """The tokens of texts, without any that a template or a tokenizer adds around them."""
    found: list[int] = []
    # A tokenizer makes a hundred bytes of each token.
    for start, end in runs([len(text) for text in texts], most=_CHARACTERS_AT_ONCE):
        ids = _tokenizer(model)(list(texts[start:end]), add_special_tokens=False)["input_ids"]
        found += [len(each_) for each_ in ids]
    return found


def _select(what: Choosing, names: Sequence[str]) -> Figures | Stop:
    try:
        pool, dropped, known = _pool(what, names)
        if not pc.any(pc.invert(pool["rejectable"])).as_py():
            return Stop(f"no trace is fit to train on: {_reasons(dropped)}")
        selection = select(pool, settings=what.settings, known=known)
        _write_selection(what, names, selection)
        return figures_of(selection, dropped=dropped, settings=what.settings)
    except Stop as stop:
        return stop


def _reasons(dropped: Counter[str]) -> str:
    if not dropped:
        return "there are no traces"
    ordered = sorted(dropped.items(), key=lambda item: (-item[1], item[0]))[:_REASONS_SHOWN]
    return ", ".join(f"{count:,} {reason}" for reason, count in ordered)


def _pool(what: Choosing, names: Sequence[str]) -> tuple[pa.Table, Counter[str], dict[str, list[str]]]:
    """All candidates that are fit or could stand in a pair, with their shard and row; why the others are dropped; and
    the groups that any trace is in."""
    columns = [name for name in CANDIDATE_SCHEMA.names if name not in ("agreement", "drop_why")]
    tables, dropped, known = [], Counter[str](), {name: set[str]() for name in DIMENSIONS}
    for shard, name in enumerate(names):
        table = what.store.read_table(f"{what.candidates}/{name}", columns=columns)
        for dimension, groups in known.items():
            groups.update(value for value in pc.unique(table[dimension]).to_pylist() if value is not None)
        table = table.append_column("shard", pa.array(np.full(table.num_rows, shard, dtype=np.int32)))
        table = table.append_column("row", pa.array(np.arange(table.num_rows, dtype=np.int32)))
        stays = pc.or_(pc.is_null(table["drop"]), table["rejectable"])
        gone = table.filter(pc.invert(stays))["drop"].value_counts().to_pylist()
        dropped.update({line["values"]: line["counts"] for line in gone})
        table = table.filter(stays)
        for column in _SAME_FOR_MANY:
            encoded = table[column].dictionary_encode()
            table = table.set_column(table.schema.get_field_index(column), column, encoded)
        tables.append(table.drop_columns(["drop"]))
    if not tables:
        raise Stop("there are no traces to choose from: traces/ is empty")
    pool = pa.concat_tables(tables).unify_dictionaries().combine_chunks()
    return pool, dropped, {name: sorted(groups) for name, groups in known.items()}


def _write_selection(what: Choosing, names: Sequence[str], selection: Selection) -> None:
    """One file a shard: what became of those of its rows that were in the pool, and its pairs."""
    shard, row = (np.asarray(selection.pool[name]) for name in ("shard", "row"))
    at = np.lexsort((row, shard))
    ends = np.searchsorted(shard[at], np.arange(len(names)), side="right")
    drops, whys = (pa.array([None, *(reason[place] for reason in selection.reasons)], pa.string()) for place in (0, 1))
    pair_shard = shard[selection.pairs[:, 0]]
    for number, name in enumerate(names):
        rows = at[ends[number - 1] if number else 0 : ends[number]]
        reasons = pa.array(selection.reason[rows] - CHOSEN)
        found = pa.table({"row": pa.array(row[rows]), "drop": drops.take(reasons), "drop_why": whys.take(reasons)})
        mine = row[selection.pairs[pair_shard == number]]
        # In the footer, so that a shard has one file and both are there or none.
        told = found.replace_schema_metadata({"pairs": orjson.dumps(mine.tolist())})
        what.store.write_table(f"{what.selected}/{name}", told)


def _write(what: Choosing, name: str) -> None:
    """A shard's examples, its pairs, and last what became of each of its traces."""
    store = what.store
    judged, selected = (store.read_table(f"{folder}/{name}") for folder in (what.candidates, what.selected))
    shard = read_shard(store, f"traces/{name}", judged)
    drop, why = _outcome(judged, selected)
    split = pc.if_else(pc.is_null(drop), pc.if_else(judged["validation"], "validation", "train"), None)
    for part in ("train", "validation"):
        rows = np.flatnonzero(pc.fill_null(pc.equal(split, part), False))
        _put(store, f"dataset/{name.replace('shard-', f'{part}-')}", example_parts(shard, rows, what.templates))
    sides = orjson.loads((selected.schema.metadata or {}).get(b"pairs", b"[]"))
    if sides:
        pairs = pair_parts(shard, sides, what.templates)
        _put(store, f"dataset/preference/{name.replace('shard-', 'pairs-')}", pairs)
    if store.exists(f"{what.matches}/{name}"):
        _put(store, f"{CHOICES}/matches/{name}", store.read_parts(f"{what.matches}/{name}"))
    told = {column: shard.told[column] for column in TOLD}
    told |= {column: judged[column] for column in ("student_tokens", "agreement")}
    choices = pa.table(told | {"split": split, "drop": drop, "drop_why": why})
    store.write_table(f"{CHOICES}/{name}", choices.sort_by(ORDER))


def _put(store: Store, name: str, tables: Iterable[pa.Table]) -> None:
    with store.writing(name) as write:
        for table in tables:
            write(table)


def _outcome(judged: pa.Table, selected: pa.Table) -> tuple[pa.Array, pa.Array]:
    """Each trace's drop and why: the selection's where the trace came so far, unless it was judged wrong before."""
    fit = pc.is_null(judged["drop"]).combine_chunks()
    there = np.asarray(selected["row"])
    places = np.full(judged.num_rows, -1)
    places[there] = np.arange(len(there))
    at = pa.array(places, mask=places < 0)
    drop, why = (
        pc.if_else(fit, selected[name].combine_chunks().take(at), judged[name].combine_chunks())
        for name in ("drop", "drop_why")
    )
    return drop, why
