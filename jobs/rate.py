"""The parts of curating that ask a model: paraphrases of held-out problems, and how hard problems are."""

from collections import Counter
from collections.abc import Mapping

from cluster.asks import Ask, Part
from cluster.curation import Curation
from cluster.each import each
from cluster.models import probe
from cluster.paraphrases import HeldOut, find_pairs
from jobs.draws import drawn, engine_at
from jobs.recipe import Recipe
from pipeline.alike.match import Matched
from pipeline.alike.paraphrases import ParaphraseSettings, cleared, judged_same
from pipeline.difficulty import DifficultySettings, measured, rated
from pipeline.funnel import TraceCounts, count_traces
from pipeline.record import Problem, Trace, from_table, to_table
from pipeline.store import Store

DIFFICULTY = "problems/difficulty"
"""Where the draws lie that pass rates were counted from."""
PARAPHRASES = "problems/paraphrases"
"""Where the judge's answers lie."""


def clear(recipe: Recipe, to: Curation, source: str, target: str, *, held_out: HeldOut) -> TraceCounts:
    """Write `target`/ from `source`/: without the problems that a judge calls a held-out problem in other words."""
    settings = recipe.paraphrases
    assert settings is not None, "asked for by the recipe"
    pairs = f"{to.work}/pairs"
    find_pairs(
        to.files,
        store=to.store,
        source=source,
        target=pairs,
        held_out=held_out,
        settings=settings,
        engine=settings.vllm,
        name=to.name,
    )
    counts = _asked(recipe, to, pairs, PARAPHRASES, settings)
    texts = {problem.id: problem.prompt for _, problem in held_out}

    def one(name: str) -> int:
        return _clear(to.store, name, source, target, settings=settings, texts=texts)

    for _ in each(to.missing(target), one, name=f"{to.name}-clear"):
        pass
    return counts


def rate(recipe: Recipe, to: Curation, source: str, target: str) -> TraceCounts:
    """Write `target`/ from `source`/: with the pass rate of each problem, those outside the band dropped."""
    settings = recipe.difficulty
    assert settings is not None, "asked for by the recipe"
    counts = _asked(recipe, to, source, DIFFICULTY, settings)
    store = to.store

    def one(name: str) -> int:
        problems = from_table(store.read_table(f"{source}/{name}"), Problem)
        traces = from_table(store.read_columns(f"{DIFFICULTY}/{name}", list(Trace.__dataclass_fields__)), Trace)
        store.write_table(f"{target}/{name}", to_table(rated(problems, traces, settings), Problem))
        return len(problems)

    for _ in each(to.missing(target), one, name=f"{to.name}-rate"):
        pass
    return counts


def rates(to: Curation, folder: str) -> dict[str, int]:
    """How many problems of a folder have a pass rate, and how many could not be measured."""

    def count(name: str) -> Counter[str]:
        return measured(to.store.read_table(f"{folder}/{name}", columns=["drop", "pass_rate"]))

    counts = Counter(measured=0, unmeasured=0)
    for found in each(to.files, count, name=f"{to.name}-count-rates"):
        counts.update(found)
    return dict(counts)


def _asked(
    recipe: Recipe, to: Curation, source: str, traces: str, settings: DifficultySettings | ParaphraseSettings
) -> TraceCounts:
    """Draw the traces of all shards of `source`/ that are not there yet; the answers are kept with their problems'."""
    if settings.engine == "student":
        probe(recipe.student.model)
    parts = [
        Part(f"{source}/{name}", f"{to.folder}/{name.removesuffix('.parquet')}", f"{traces}/{name}")
        for name in to.missing(traces)
    ]
    counts = TraceCounts()
    missing = {part.traces for part in parts}

    def count(name: str) -> TraceCounts:
        return count_traces(from_table(to.store.read_table(f"{traces}/{name}"), Trace), {}, invocation="")

    done = [name for name in to.files if f"{traces}/{name}" not in missing]
    for found in each(done, count, name=f"{to.name}-count-asked"):
        counts.add(found)
    generation = settings.generation

    def asks(teachers: Mapping[str, object]) -> list[Ask]:
        engine = engine_at(recipe, settings.engine, teachers)
        return [Ask(generation, recipe.template(settings.prompt), engine, recipe.seed)]

    # What says whether two problems are the same is no answer to one, which an LLM could judge.
    judged = settings is recipe.difficulty
    title = f"curate {generation.name}"
    for found in drawn(recipe, parts, of=[settings.engine], asks=asks, title=title, judged=judged):
        counts.add(found)
    return counts


def _clear(
    store: Store, name: str, source: str, target: str, *, settings: ParaphraseSettings, texts: Mapping[str, str]
) -> int:
    problems = from_table(store.read_table(f"{source}/{name}"), Problem)
    traces = from_table(store.read_table(f"{PARAPHRASES}/{name}"), Trace)
    kept, matches = cleared(problems, judged_same(traces, settings), texts)
    if matches:
        store.write_table(f"problems/matches/paraphrases-{name}", to_table(matches, Matched))
    store.write_table(f"{target}/{name}", to_table(kept, Problem))
    return len(matches)
