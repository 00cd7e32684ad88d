"""Measure the student before and after training (and teachers beside it) on held-out problems, with paired tests.

The traces are made and verified by the same stream that made the training data.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from cluster.asks import Ask, ModelAt, Part, TeacherAt
from cluster.curation import shard_name
from cluster.models import identity, probe
from jobs.curate import BENCHMARK_SHARDS, BENCHMARKS, benchmark_folder, held_out
from jobs.draws import base_at, drawn, nothing_new
from jobs.job import Job, Plan, Summary, main, number, previous
from jobs.measure import UNSHOWN, measure
from jobs.ready import connected
from jobs.recipe import Recipe
from jobs.steps import steps_of, store_of
from jobs.worst import at_most, in_all, judge_line, judges
from pipeline.bought import bought
from pipeline.errors import Stop
from pipeline.funnel import TraceCounts
from pipeline.generate import Generation
from pipeline.model_card import write_card
from pipeline.sources import size_of
from pipeline.store import Store
from pipeline.truncated import Truncated


def plan(recipe: Recipe) -> Plan:
    """What would be measured."""
    settings = recipe.evaluate
    draws = f"{settings.draws} draws a problem, at most {number(settings.sampling.max_tokens)} tokens each"
    if not settings.benchmarks:
        return [("measures", "nothing: evaluate.benchmarks is empty")]
    lines = [("models", ", ".join(settings.models)), ("sampling", draws)]
    if settings.thought_budgets:
        able = [model for model in settings.models if budgets_of(recipe, model)]
        budgets = ", ".join(map(number, settings.thought_budgets))
        lines.append(("thought budgets", f"{budgets} tokens, then an answer forced, for {', '.join(able) or 'nobody'}"))
    sizes = {name: size_of(source) or source.rows for name, source in settings.benchmarks.items()}
    for name, size in sizes.items():
        lines.append(
            (f"benchmark {name}", f"{number(size)} problems" if size is not None else "size unknown until read")
        )
    return [*lines, *_costs(recipe, sizes)]


def _costs(recipe: Recipe, sizes: Mapping[str, int | None]) -> Plan:
    """A line for each teacher's own answers, one for the judge of everybody's, and what that comes to at worst."""
    settings, judge = recipe.evaluate, recipe.judge
    judged = [size for name, size in sizes.items() if judges(recipe, settings.benchmarks[name])]
    asked = [name for name in settings.models if name in recipe.teachers]
    paid = [*asked, judge.engine] if judge is not None and judged else asked
    if paid and None in (sizes.values() if asked else judged):
        return [("worst cost", "unknown: the benchmarks' sizes are not known before they are read")]
    lines, cost = [], 0.0
    calls = settings.draws * sum(size or 0 for size in sizes.values())
    for name in asked:
        worst = calls * _one_draw(recipe, name)
        cost += worst
        each = number(calls * (1 + 2 * len(budgets_of(recipe, name))))
        lines.append((name, f"up to {each} calls, {at_most(recipe, name, worst)}"))
    answers = settings.draws * sum(size or 0 for size in judged)
    told, worst = judge_line(recipe, answers * sum(len(_names(recipe, model)) for model in settings.models))
    return [*lines, *told, ("worst cost", in_all(recipe, cost + worst, paid))]


def _one_draw(recipe: Recipe, name: str) -> float:
    """The most USD that one draw of a teacher costs: its answer, and one begun and one forced for each budget."""
    teacher, settings, prompt = recipe.teachers[name], recipe.evaluate, recipe.estimate.prompt_tokens
    worst = teacher.cost(prompt=prompt, cached=0, completion=settings.sampling.max_tokens)
    for tokens in budgets_of(recipe, name):
        worst += teacher.cost(prompt=2 * prompt + tokens, cached=0, completion=tokens + settings.answer_tokens)
    return worst


def work(recipe: Recipe) -> Summary:
    """Evaluate, unless it is done."""
    steps = steps_of(recipe)
    if steps.evaluate.state() == "done":
        return nothing_new(previous(recipe, "evaluate"))
    steps.evaluate.needs(steps.curate)
    if "student" in recipe.evaluate.models:
        if recipe.makes_traces:
            steps.evaluate.needs(steps.choose)
        steps.evaluate.needs(steps.train)
    if "base" in recipe.evaluate.models:
        probe(recipe.student.model)
    store = store_of(recipe)
    overlap = _overlap(recipe, store)
    if overlap:
        raise Stop(f"{overlap} held-out problems are in dataset/: the scores would be worth nothing")
    counts = TraceCounts()
    with connected(recipe, "evaluate"):
        steps.evaluate.begin()
        for model in recipe.evaluate.models:
            counts.add(_draw(recipe, model, store))
    models = [name for model in recipe.evaluate.models for name in _names(recipe, model)]
    kept = counts.as_json()
    told = {name: value for name, value in kept.items() if name in ("calls", "tokens", "cost_usd", "judge")}
    scored = {
        **measure(store, benchmarks=list(recipe.evaluate.benchmarks), models=models, ks=recipe.evaluate.k),
        "held_out_in_dataset": overlap,
        **_left_out(recipe),
        **told,
        "cost_total_usd": bought(store, below=BENCHMARKS).total.most_usd,
    }
    if "student" in recipe.evaluate.models:
        write_card(store, scored=scored)
    return scored


def budgets_of(recipe: Recipe, model: str) -> tuple[int, ...]:
    """The thought budgets that a model is measured at: none for a teacher that can't go on from a prefix."""
    cannot = model in recipe.teachers and recipe.teachers[model].continues == "no"
    return () if cannot else recipe.evaluate.thought_budgets


def _names(recipe: Recipe, model: str) -> list[str]:
    """The scores that a model gets: its own, and NAME@TOKENS for each budget."""
    return [model, *(f"{model}@{tokens}" for tokens in budgets_of(recipe, model))]


def _draw(recipe: Recipe, model: str, store: Store) -> TraceCounts:
    counts = TraceCounts()
    for found in drawn(
        recipe,
        list(_parts(recipe, model, store)),
        of=[model],
        asks=lambda teachers: [ask_of(recipe, model, _engine(recipe, model, store, teachers))],
        title=f"evaluate {model}",
    ):
        counts.add(found)
    return counts


def ask_of(recipe: Recipe, model: str, engine: TeacherAt | ModelAt) -> Ask:
    """What is asked of a model: its answers as they come, and beside them those with a budget for the thought."""
    settings = recipe.evaluate
    whole = Generation(
        name="evaluate",
        engine="teacher" if model in recipe.teachers else "student",
        prompt=settings.prompt,
        draws=settings.draws,
        sampling=settings.sampling,
    )
    asked = Ask(whole, recipe.template(settings.prompt), engine, recipe.seed)
    forced = Truncated(policy="force", max_tokens=settings.answer_tokens)
    beside = []
    for tokens in budgets_of(recipe, model):
        sampling = settings.sampling.model_copy(update={"max_tokens": tokens})
        cut = whole.model_copy(update={"sampling": sampling, "truncated": forced})
        beside.append(replace(asked, generation=cut, suffix=f"@{tokens}"))
    return replace(asked, beside=tuple(beside))


def _engine(recipe: Recipe, model: str, store: Store, teachers: Mapping[str, TeacherAt]) -> TeacherAt | ModelAt:
    if model in teachers:
        return teachers[model]
    if model == "base":
        return base_at(recipe)
    path = store.address("model")
    return ModelAt(recipe.student.engine, path, identity(path))


def _parts(recipe: Recipe, model: str, store: Store) -> Iterator[Part]:
    for benchmark in recipe.evaluate.benchmarks:
        there = [set(store.names(f"scores/{benchmark}/{name}", ".parquet")) for name in _names(recipe, model)]
        done = set.intersection(*there)
        for shard in map(shard_name, range(BENCHMARK_SHARDS)):
            if f"{shard}.parquet" not in done:
                yield Part(
                    problems=f"{benchmark_folder(benchmark)}/{shard}.parquet",
                    ledger=f"{benchmark_folder(benchmark)}/{shard}",
                    traces=f"scores/{benchmark}/{model}/{shard}.parquet",
                )


def _left_out(recipe: Recipe) -> dict[str, int]:
    """How many rows from outside held a problem of a benchmark, and were not trained on; nothing without such rows."""
    if "student" not in recipe.evaluate.models or all(phase.dataset is None for phase in recipe.train.phases):
        return {}
    reasons = [phase["left_out"] for phase in previous(recipe, "train")["phases"]]
    rows = sum(count for left_out in reasons for reason, count in left_out.items() if "benchmark" in reason)
    return {"held_out_left_out": rows}


def _overlap(recipe: Recipe, store: Store) -> int:
    """How many held-out problems are in the run's data set; looked up in the files that were trained on.

    Of rows from outside those that hold one are in no window.
    """
    if all(phase.dataset is not None for phase in recipe.train.phases):
        # One that lies there is another recipe's.
        return 0
    benchmark = held_out(recipe, store)
    trained: set[str] = set()
    for folder in ("dataset", "dataset/preference"):
        for name in store.names(folder, ".parquet"):
            trained.update(store.read_table(f"{folder}/{name}", columns=["problem_id"])["problem_id"].to_pylist())
    return len(benchmark & trained)


JOB = Job("evaluate", __doc__ or "", plan, work, UNSHOWN)

if __name__ == "__main__":
    main(JOB)
