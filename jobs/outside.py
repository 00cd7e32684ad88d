"""The data sets from outside that phases train on: which version they are, and what of them must not be trained on."""

import contextlib
from collections.abc import Iterator, Sequence
from itertools import islice
from statistics import mean
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from jobs.curate import held_out_problems
from jobs.recipe import Recipe
from jobs.steps import steps_of, store_of
from pipeline.alike.overlap import Index, index_of
from pipeline.conversations import Messages, asked, conversations
from pipeline.errors import Stop
from pipeline.pack import Refused, Tokenizer, encode
from pipeline.store import Store
from pipeline.training.settings import Phase

_SAMPLE_ROWS, _SAMPLE_CHARS = 5000, 4000
_MEASURED_ROWS = 200
_FILES, _PARTS = 50, 4


def is_trained(name: str) -> bool:
    """Whether a data set's file is trained on; what is held back lies beside it."""
    return name.startswith("train-")


def check_held_out(recipe: Recipe) -> None:
    """Raise Stop where rows from outside are to be held against benchmarks that are not read yet."""
    outside = [phase.dataset for phase in recipe.train.phases if phase.dataset is not None]
    if outside and recipe.evaluate.benchmarks and steps_of(recipe).curate.state() != "done":
        raise Stop(
            f"rows of {outside[0]} may be problems of evaluate.benchmarks, which are not read yet: "
            "run jobs.curate first (or jobs.run), or set evaluate.benchmarks={}"
        )


def held_against(recipe: Recipe, phase: Phase) -> list[Any]:
    """What decides which rows of a phase are left out as held-out problems, beside the rows; nothing for the run's own.

    The run's own data set was held against the benchmarks when it was made.
    """
    if phase.dataset is None or not recipe.evaluate.benchmarks:
        return []
    problems = held_out_problems(recipe, store_of(recipe))
    return [{name: sorted(one.id for one in held) for name, held in problems.items()}, recipe.curate.overlap]


def held_out_index(recipe: Recipe, phase: Phase) -> Index | None:
    """What a phase's rows from outside are held against; None for the run's own, or without benchmarks."""
    if phase.dataset is None or not recipe.evaluate.benchmarks:
        return None
    some = _some(Store(phase.dataset), _SAMPLE_ROWS)
    texts = [text[:_SAMPLE_CHARS] for messages in some for text in asked(messages)]
    # Each once: what a set asks often would count as how its problems are put, and be found in none.
    sample = list(dict.fromkeys(texts))
    return index_of(held_out_problems(recipe, store_of(recipe)), recipe.curate.overlap, sample=sample)


def wanted_rows(phase: Phase) -> int:
    """How many rows from outside a phase trains on, before any is left out."""
    store = Store(phase.dataset or "")
    names = [name for name in store.names("", ".parquet") if is_trained(name)]
    if not phase.generations:
        return sum(store.rows(name) for name in names)
    return sum(_of(store.read_columns(name, ["generation"]), phase.generations).num_rows for name in names)


def mean_tokens(phase: Phase, tokenizer: Tokenizer, *, most: int) -> float | None:
    """The mean tokens of some of a phase's rows from outside, at most `most` each; None where there is none."""
    lengths = []
    for messages in _some(Store(phase.dataset or ""), _MEASURED_ROWS, phase.generations):
        with contextlib.suppress(Refused):
            lengths.append(min(most, len(encode(messages, tokenizer).ids)))
    return mean(lengths) if lengths else None


def _of(rows: pa.Table, generations: Sequence[str]) -> pa.Table:
    """Those of the generations; none named are all."""
    if not generations or "generation" not in rows.column_names:
        return rows
    column = rows["generation"]
    return rows.filter(pc.is_in(column, value_set=pa.array(generations, column.type)))


def _some(store: Store, wanted: int, generations: Sequence[str] = ()) -> Iterator[Messages]:
    """About so many rows, the first of every file; of very many files from some, evenly spread."""
    names = [name for name in store.names("", ".parquet") if is_trained(name)]
    names = names[:: -(-len(names) // _FILES) or 1]
    each = -(-wanted // max(1, len(names)))
    for name in names:
        left, passed, address = each, 0, store.address(name)
        for part in islice(store.read_parts(name), _PARTS):
            places = range(passed, passed + len(part))
            held = conversations(part, address=address, name=address, rows=places)[1]
            passed += len(part)
            taken = _of(part.append_column("place", pa.array(range(len(part)))), generations)["place"].to_pylist()
            yield from (held[place] for place in taken[:left])
            left -= min(left, len(taken))
            if not left:
                break
