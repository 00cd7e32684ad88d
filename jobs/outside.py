"""The data sets from outside that phases train on: which version they are, and what of them must not be trained on."""

import contextlib
from collections.abc import Iterator
from statistics import mean
from typing import Any

from jobs.curate import held_out_problems
from jobs.recipe import Recipe
from jobs.steps import steps_of, store_of
from pipeline.alike.overlap import Index, index_of
from pipeline.conversations import Messages, asked, conversations
from pipeline.errors import Stop
from pipeline.pack import Refused, Tokenizer, encode
from pipeline.sources import content
from pipeline.store import Store
from pipeline.training.settings import Phase

_SAMPLE_ROWS, _SAMPLE_CHARS = 5000, 4000
_MEASURED_ROWS = 200
_FILES = 50


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
    benchmarks = recipe.evaluate.benchmarks
    if phase.dataset is None or not benchmarks:
        return []
    return [benchmarks, [content(source) for source in benchmarks.values()], recipe.curate.overlap]


def held_out_index(recipe: Recipe, phase: Phase) -> Index | None:
    """What a phase's rows from outside are held against; None for the run's own, or without benchmarks."""
    if phase.dataset is None or not recipe.evaluate.benchmarks:
        return None
    sample = [asked(messages)[:_SAMPLE_CHARS] for messages in _some(Store(phase.dataset), _SAMPLE_ROWS)]
    return index_of(held_out_problems(recipe, store_of(recipe)), recipe.curate.overlap, sample=sample)


def mean_tokens(dataset: str, tokenizer: Tokenizer, *, most: int) -> float | None:
    """The mean tokens of some examples of a data set, at most `most` each; None where it has none to measure."""
    lengths = []
    for messages in _some(Store(dataset), _MEASURED_ROWS):
        with contextlib.suppress(Refused):
            lengths.append(min(most, len(encode(messages, tokenizer).ids)))
    return mean(lengths) if lengths else None


def _some(store: Store, wanted: int) -> Iterator[Messages]:
    """About so many rows, the first of every file; of very many files from some, evenly spread."""
    names = [name for name in store.names("", ".parquet") if is_trained(name)]
    names = names[:: -(-len(names) // _FILES) or 1]
    each = -(-wanted // max(1, len(names)))
    for name in names:
        left, address = each, store.address(name)
        for part in store.read_parts(name):
            rows = part.slice(0, left)
            yield from conversations(rows, address=address, name=address, rows=range(len(rows)))[1]
            left -= len(rows)
            if not left:
                break
