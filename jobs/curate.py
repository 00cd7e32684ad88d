"""Read the sources and the benchmarks, drop what can't be used with a reason, and write problems/ in shards."""

from collections.abc import Callable, Mapping, Sequence

from cluster.curation import Curation, all_there, compared, counted, read, sample, settled, shard_name, small
from cluster.doing import told_rows
from cluster.each import each
from jobs.draws import nothing_new
from jobs.first_rows import first_lines
from jobs.job import Job, Plan, Summary, main, number, previous, show
from jobs.rate import clear, rate, rates
from jobs.ready import connected
from jobs.recipe import Recipe
from jobs.steps import steps_of, store_of
from jobs.worst import at_most, in_all, judge_line, judges, most_tokens
from pipeline.alike.overlap import Index, index_of
from pipeline.benchmarks import check, complete
from pipeline.curate import BENCHMARK_RULES
from pipeline.errors import Stop
from pipeline.funnel import ProblemCounts, TraceCounts
from pipeline.record import Problem, from_table
from pipeline.sources import Source, size_of
from pipeline.store import Store

# Their problems lie in this folder of the run, and the answers to them in this folder of its ledger.
BENCHMARKS = "benchmarks"
# A benchmark is small: few shards keep an engine busy and the number of files low.
BENCHMARK_SHARDS = 8


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
    lines += [(f"first rows of {name}", said) for name, said in first_lines(recipe, hub=False)]
    if recipe.sources:
        lines += [("rules", ", ".join(recipe.curate.rules)), ("writes", f"{recipe.shards} shards of problems/")]
    return [*lines, *_asked(recipe)]


def _asked(recipe: Recipe) -> Plan:
    """What would be asked of models, and what that costs at worst; nothing where none is asked."""
    lines, cost, paid, problems = [], 0.0, [], known_size(recipe)
    for what, asked, each_problem in (
        ("paraphrases", recipe.paraphrases, recipe.paraphrases.per_problem if recipe.paraphrases else 0),
        ("difficulty", recipe.difficulty, recipe.difficulty.draws if recipe.difficulty else 0),
    ):
        if asked is None:
            continue
        generation, calls = asked.generation, problems * each_problem
        text = f"up to {number(calls)} calls of {asked.engine}, {number(calls * most_tokens(generation))} tokens"
        if asked.engine in recipe.teachers:
            # A pair shows two problems.
            prompt = recipe.estimate.prompt_tokens * (2 if what == "paraphrases" else 1)
            teacher = recipe.teachers[asked.engine]
            worst = calls * teacher.cost(prompt=prompt, cached=0, completion=most_tokens(generation))
            cost += worst
            paid.append(asked.engine)
            text += f", {at_most(recipe, asked.engine, worst)}"
        lines.append((what, text))
    rated = recipe.difficulty.draws * problems if recipe.difficulty is not None else 0
    if recipe.judge is not None and rated and any(judges(recipe, source) for source in recipe.sources):
        told, worst = judge_line(recipe, rated)
        lines, cost, paid = [*lines, *told], cost + worst, [*paid, recipe.judge.engine]
    return [*lines, ("worst cost", in_all(recipe, cost, paid))] if paid else lines


def work(recipe: Recipe) -> Summary:
    """Curate, unless it is done."""
    step = steps_of(recipe).curate
    if step.state() == "done":
        summary = previous(recipe, "curate")
        return nothing_new(summary) if "calls" in summary else summary
    store, made = store_of(recipe), f"{step.folder}/made.json"
    to = Curation(store, step.folder, recipe.curate, recipe.shards, f"{recipe.name}-curate")
    # Once the reading has begun its rows are known to be right, and what a data set was cut from may be gone.
    if step.state() != "begun" or not (store.exists(to.slices) or store.exists(made)):
        show("first rows", first_lines(recipe, hub=True))
    with connected(recipe, "curate"):
        _keep_layout(recipe, store)
        step.begin()
        if not store.exists(made):
            benchmarks = _benchmarks(recipe, to)
            counts, told = _problems(recipe, to) if recipe.sources else (ProblemCounts(), {})
            # The stages' own marks go with their folder: what is made by now must not be looked for in them again.
            store.write_json(made, {**counts.as_json(), "benchmarks": benchmarks, **told})
    store.delete_folder(to.work)
    summary: Summary = store.read_json(made)
    return summary


def _problems(recipe: Recipe, to: Curation) -> tuple[ProblemCounts, Summary]:
    """Write the problems of the sources; what became of their rows, and what the stages tell."""
    held_out = held_out_problems(recipe, to.store)
    told = _made(recipe, to, held_out)
    counts = counted(to, to.folder)
    told_rows("curate", {"kept": counts.kept, **counts.dropped})
    all_there(to, counts)
    if held_out:
        matched = sum(number for layer, number in counts.dropped.items() if "benchmark" in layer)
        told["held_out"] = {"problems": sum(map(len, held_out.values())), "rows matched": matched}
    complete(recipe.sources, counts.sources)
    return counts, told


def _made(recipe: Recipe, to: Curation, held_out: Mapping[str, Sequence[Problem]]) -> Summary:
    """Every stage that is not done, the last one into the step's folder; returns what each tells beside the drops."""
    sources = [source.name for source in recipe.sources]
    every = [(name, problem) for name, problems in held_out.items() for problem in problems]
    stages: list[tuple[str, Callable[[str, str], Summary]]] = []
    if {"near_duplicate", "beside_benchmark"} & set(recipe.curate.rules):
        stages.append(("near", lambda at, then: {"near": compared(to, at, then, sources=sources, held_out=every)}))
    if recipe.paraphrases is not None:
        stages.append(("paraphrases", lambda at, then: _bill(clear(recipe, to, at, then, held_out=every))))
    if recipe.difficulty is not None:
        stages.append(("difficulty", lambda at, then: _rated(recipe, to, at, then)))
    folders = [f"{to.work}/{name}" for name in ("settled", *(name for name, _ in stages))]
    folders[-1] = to.folder
    read(recipe.sources, to)
    texts = sample(to.store, (to.parts(name) for name in to.files)) if held_out else []
    index = index_of(held_out, recipe.curate.overlap, sample=texts) if held_out else None
    settled(to, folders[0], index=index)
    told: Summary = {}
    for (_, stage), at, then in zip(stages, folders[:-1], folders[1:], strict=True):
        told = _together(told, stage(at, then))
    return told


def _rated(recipe: Recipe, to: Curation, at: str, then: str) -> Summary:
    bill = _bill(rate(recipe, to, at, then))
    return {**bill, "difficulty": rates(to, then)}


def _bill(counts: TraceCounts) -> Summary:
    """What asking a model cost, of a stage's counts."""
    told = ("calls", "tokens", "cost_usd", "cost_total_usd")
    return {name: value for name, value in counts.as_json().items() if name in told}


def _together(told: Summary, more: Summary) -> Summary:
    """The figures of two stages as one: those of one name are added up."""
    both = dict(told)
    for name, value in more.items():
        if isinstance(value, dict):
            both[name] = _together(both.get(name, {}), value)
        else:
            both[name] = both.get(name, 0) + value
    return both


def _benchmarks(recipe: Recipe, to: Curation) -> Summary:
    """Check each benchmark as it is, then write its problems; a task each. Once written they are not read again."""
    if not recipe.evaluate.benchmarks:
        return {}
    # Their own folder may be from another recipe; the mark is gone with that one's problems.
    mark = f"{to.work}/benchmarks.json"

    def one(item: tuple[str, Source]) -> tuple[str, ProblemCounts]:
        name, source = item
        check(name, source)
        its = Curation(to.store, benchmark_folder(name), BENCHMARK_RULES, BENCHMARK_SHARDS, name)
        counts = small(source, its)
        complete([source], counts.sources)
        return name, counts

    if not to.store.exists(mark):
        done = dict(each(list(recipe.evaluate.benchmarks.items()), one, name=f"{recipe.name}-benchmarks"))
        to.store.write_json(mark, {name: done[name].as_json() for name in recipe.evaluate.benchmarks})
    told: Summary = to.store.read_json(mark)
    return told


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


def held_out_problems(recipe: Recipe, store: Store) -> dict[str, list[Problem]]:
    """All problems of each benchmark, also those that its own rules drop."""
    return {
        name: [
            problem
            for shard in range(BENCHMARK_SHARDS)
            for problem in from_table(
                store.read_table(f"{benchmark_folder(name)}/{shard_name(shard)}.parquet"), Problem
            )
        ]
        for name in recipe.evaluate.benchmarks
    }


def held_out(recipe: Recipe, store: Store) -> frozenset[str]:
    """The ids of all benchmark problems."""
    return frozenset(problem.id for problems in held_out_problems(recipe, store).values() for problem in problems)


def index_over(recipe: Recipe, store: Store) -> Index | None:
    """The index of all benchmark problems, for the traces that were made of the curated ones; None without any."""
    if not recipe.evaluate.benchmarks:
        return None
    texts = sample(store, ([f"problems/{name}"] for name in store.names("problems", ".parquet")))
    return index_of(held_out_problems(recipe, store), recipe.curate.overlap, sample=texts)


def known_size(recipe: Recipe) -> int:
    """Problems that a dry run reckons with: what the recipe says, or the rows of the sources if these are fewer."""
    sizes = [size_of(source) for source in recipe.sources]
    rows = sum(size for size in sizes if size is not None)
    if recipe.estimate.problems is None:
        return rows
    return recipe.estimate.problems if None in sizes else min(recipe.estimate.problems, rows)


JOB = Job("curate", __doc__ or "", plan, work)

if __name__ == "__main__":
    main(JOB)
