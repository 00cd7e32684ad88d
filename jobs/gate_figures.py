"""How much each phase of a recipe trains on: counted in its packs, or estimated before there are any."""

import math
from collections.abc import Sequence
from typing import Any

import pyarrow.fs as pafs
import pyarrow.parquet as pq

from jobs.curate import known_size
from jobs.outside import mean_tokens, wanted_rows
from jobs.phases import Prepared
from jobs.recipe import Recipe
from pipeline.pack import Tokenizer
from pipeline.store import Store
from pipeline.training.gate import PhaseFigures
from pipeline.training.settings import Phase


def counted(phases: Sequence[Prepared]) -> list[PhaseFigures]:
    """What packed phases train on, and in how many steps."""
    figures = []
    for phase in phases:
        meta, plan = phase.meta, phase.plan
        schedule = plan.schedule(num_labels=meta.num_labels, num_tokens=meta.num_tokens)
        figures.append(
            PhaseFigures(
                name=plan.phase.name,
                windows=meta.windows,
                num_tokens=sum(meta.num_tokens),
                steps=schedule.total,
                epochs=plan.phase.epochs,
                longest=meta.longest,
                examples=meta.examples,
                left_out=meta.left_out,
                truncated=meta.truncated,
                packed=True,
                ends_at=None if plan.phase.tokens is None else sum(step.num_tokens for step in schedule.steps()),
            )
        )
    return figures


def estimated(recipe: Recipe, store: Store | None, tokenizer: Tokenizer | None) -> list[PhaseFigures]:
    """How much each phase trains on: by the chosen examples where they are there, else by the recipe's estimate.

    Of a data set from outside some rows are measured, where there is a tokenizer to do it.
    """
    summary = _summary(store) if store is not None else None
    figures = []
    for phase in recipe.train.phases:
        tokens, examples = _tokens(recipe, phase, summary, tokenizer)
        windows = math.ceil(tokens / recipe.train.window)
        steps, ends_at = phase.epochs * math.ceil(windows / recipe.train.batch_windows), None
        if phase.tokens is not None and phase.tokens < tokens * phase.epochs:
            # Prompts are not trained on, but are few beside what is.
            ends_at = phase.tokens
            steps = math.ceil(ends_at / (recipe.train.window * recipe.train.batch_windows))
        longest = _longest(store) if store is not None and summary and phase.dataset is None else None
        figures.append(
            PhaseFigures(
                phase.name, windows, tokens, steps, phase.epochs, longest=longest, examples=examples, ends_at=ends_at
            )
        )
    return figures


def _longest(store: Store) -> int | None:
    """The most tokens of an example of dataset/, from the files' footers alone; None where they don't say."""
    most: list[int | None] = []
    for name in store.names("dataset", ".parquet"):
        fs, path = pafs.FileSystem.from_uri(store.address(f"dataset/{name}"))
        with fs.open_input_file(path) as source:
            footer = pq.read_metadata(source)
        most += _maxima(footer, "student_tokens")
    known = [one for one in most if one is not None]
    return max(known) if known and len(known) == len(most) else None


def _maxima(footer: Any, column: str) -> list[int | None]:
    found: list[int | None] = []
    for group in range(footer.num_row_groups):
        held = footer.row_group(group)
        for number in range(held.num_columns):
            about = held.column(number)
            if about.path_in_schema == column:
                known = (
                    about.statistics is not None and about.statistics.has_min_max and not about.statistics.null_count
                )
                found.append(about.statistics.max if known else None)
    return found


def _summary(store: Store) -> dict[str, Any] | None:
    if not store.exists("summary/choose.json") or not store.names("dataset", ".parquet"):
        return None
    summary: dict[str, Any] = store.read_json("summary/choose.json")
    return summary if summary.get("examples") else None


def _tokens(
    recipe: Recipe, phase: Phase, summary: dict[str, Any] | None, tokenizer: Tokenizer | None
) -> tuple[int, int | None]:
    if phase.dataset is None and summary is not None:
        by = summary.get("generations", {})
        examples = sum(by.get(name, 0) for name in phase.generations)
        total = summary.get("student_tokens") or summary["tokens"]
        return round(total * examples / summary["examples"]), examples
    if phase.dataset is not None:
        rows = wanted_rows(phase)
        return round(rows * _length(recipe, phase, tokenizer)), rows
    problems, most = known_size(recipe), {each.name: each for each in recipe.distill.generations}
    tokens = 0.0
    for name in phase.generations:
        generation = most[name]
        kept = problems * generation.problems * min(recipe.choose.per_problem, generation.draws)
        examples = min(kept * recipe.estimate.correct, recipe.choose.target.rows or math.inf)
        length = recipe.estimate.trace_tokens or generation.sampling.max_tokens
        tokens += examples * (length + recipe.estimate.prompt_tokens)
    return round(tokens), None


def _length(recipe: Recipe, phase: Phase, tokenizer: Tokenizer | None) -> float:
    """Tokens of an example from outside: what the recipe reckons with, or of some the mean, or at worst a window."""
    window, asked = recipe.train.window, recipe.estimate.trace_tokens
    if asked is not None:
        return min(window, asked + recipe.estimate.prompt_tokens)
    measured = None if tokenizer is None else mean_tokens(phase, tokenizer, most=window)
    return window if measured is None else measured
