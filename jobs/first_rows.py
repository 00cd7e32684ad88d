"""A look at the first rows of each source and benchmark, before anything is started or bought."""

from jobs.recipe import Recipe
from jobs.shown import safe
from pipeline.curate import BENCHMARK_RULES, CurateSettings
from pipeline.first_rows import beginning, first_rows
from pipeline.sources import HfSource, Source

_REASONS_SHOWN = 3
_ANSWER_CHARS = 30


def first_lines(recipe: Recipe, *, hub: bool) -> list[tuple[str, str]]:
    """A line a source: its first rows, what the rules on one row would drop of them, and an example.

    What lies on the Hub is read only with `hub`. A warning stands below its source's line. Raises Stop for a source
    whose rows lack a field of the recipe.
    """
    lines = [(f"source {source.name}", _line(source, recipe.curate, hub=hub)) for source in recipe.sources]
    held_out = recipe.evaluate.benchmarks.items()
    return lines + [(f"benchmark {name}", _line(source, BENCHMARK_RULES, hub=hub)) for name, source in held_out]


def _line(source: Source, settings: CurateSettings, *, hub: bool) -> str:
    if isinstance(source, HfSource) and not hub:
        return "not looked at: a dry run asks nothing of the Hub"
    found = first_rows(source, settings=settings)
    if not found.rows:
        return "there are none"
    ordered = sorted(found.dropped.items(), key=lambda item: (-item[1], item[0]))
    reasons = ", ".join(f"{name} {count}" for name, count in ordered[:_REASONS_SHOWN])
    more = ", ..." if len(ordered) > _REASONS_SHOWN else ""
    said = f"{found.rows} read, {found.dropped.total()} would be dropped{f' ({reasons}{more})' if reasons else ''}"
    if found.example is not None:
        prompt, answer = found.example.prompt, found.example.answer
        said += f"; such as: {safe(beginning(prompt))} -> {safe(beginning(answer, most=_ANSWER_CHARS))}"
    return said if found.warning is None else f"{said}\nwarning: {safe(found.warning)}"
