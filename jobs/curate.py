"""Read the sources and the benchmarks, drop what can't be used with a reason, and write problems/ in shards."""

from functools import partial

from cluster.curation import curate, shard_name
from cluster.each import each
from cluster.session import session
from jobs.job import Job, Plan, Summary, main, number, previous
from jobs.recipe import Recipe
from jobs.steps import steps_of, store_of
from pipeline.benchmarks import check, complete
from pipeline.curate import CurateSettings
from pipeline.errors import Stop
from pipeline.funnel import ProblemCounts
from pipeline.sources import Source, size_of
from pipeline.store import Store

# Their problems lie in this folder of the run, and the answers to them in this folder of its ledger.
BENCHMARKS = "benchmarks"
# A benchmark is small: few shards keep an engine busy and the number of files low.
BENCHMARK_SHARDS = 8
# What makes a training problem unusable must not silently shrink a benchmark; a generator may repeat itself.
_BENCHMARK_RULES = CurateSettings(rules=("no_prompt", "no_answer", "bad_gold", "duplicate"))


def plan(recipe: Recipe) -> Plan:
    """What would be read."""
    lines = []
    for source in recipe.sources:
        size = size_of(source)
        lines.append(
            (f"source {source.name}", f"{number(size)} rows" if size is not None else "size unknown until read")
        )
    for name, source in recipe.evaluate.benchmarks.items():
        size = size_of(source)
        lines.append((f"benchmark {name}", f"{number(size)} rows, held out" if size is not None else "held out"))
    return [*lines, ("rules", ", ".join(recipe.curate.rules)), ("writes", f"{recipe.shards} shards of problems/")]


def work(recipe: Recipe) -> Summary:
    """Curate, unless it is done."""
    step = steps_of(recipe).curate
    if step.state() == "done":
        return previous(recipe, "curate")
    store = store_of(recipe)
    with session(recipe.cluster):
        _keep_layout(recipe, store)
        step.begin()
        benchmarks = {
            name: _benchmark(recipe, name, source, store).as_json()
            for name, source in recipe.evaluate.benchmarks.items()
        }
        counts = curate(
            recipe.sources,
            folder=step.folder,
            store=store,
            settings=recipe.curate,
            shards=recipe.shards,
            benchmark=held_out(recipe, store),
            name=f"{recipe.name}-curate",
        )
    complete(recipe.sources, counts.sources)
    return {**counts.as_json(), "benchmarks": benchmarks}


def _benchmark(recipe: Recipe, name: str, source: Source, store: Store) -> ProblemCounts:
    """Check a benchmark as it is, then write its problems."""
    for _ in each([source], partial(check, name), name=f"{recipe.name}-check-{name}"):
        pass
    counts = curate(
        [source],
        folder=benchmark_folder(name),
        store=store,
        settings=_BENCHMARK_RULES,
        shards=BENCHMARK_SHARDS,
        benchmark=frozenset(),
        name=f"{recipe.name}-curate-{name}",
    )
    complete([source], counts.sources)
    return counts


def _keep_layout(recipe: Recipe, store: Store) -> None:
    """Refuse another number of shards once answers are kept by shard: they would not be found, and bought again."""
    layout = "ledger/layout.json"
    if store.exists(layout):
        shards = store.read_json(layout)["shards"]
        if shards != recipe.shards:
            raise Stop(
                f"shards={recipe.shards}, but this run keeps its answers in {shards}: keep {shards}, or rename it"
            )
    store.write_json(layout, {"shards": recipe.shards})


def benchmark_folder(name: str) -> str:
    """Where a benchmark's problems lie."""
    return f"{BENCHMARKS}/{name}"


def held_out(recipe: Recipe, store: Store) -> frozenset[str]:
    """The ids of all benchmark problems, also of those that its own rules drop."""
    ids: set[str] = set()
    for name in recipe.evaluate.benchmarks:
        for shard in range(BENCHMARK_SHARDS):
            table = store.read_table(f"{benchmark_folder(name)}/{shard_name(shard)}.parquet", columns=["id"])
            ids.update(table["id"].to_pylist())
    return frozenset(ids)


def known_size(recipe: Recipe) -> int:
    """Problems that a dry run reckons with: what the recipe says, or all rows of the sources whose size is known."""
    if recipe.estimate.problems is not None:
        return recipe.estimate.problems
    sizes = [size_of(source) for source in recipe.sources]
    return sum(size for size in sizes if size is not None) if any(sizes) else 0


JOB = Job("curate", __doc__ or "", plan, work)

if __name__ == "__main__":
    main(JOB)
