"""Get traces for every problem from the teacher and the student itself, verify them, and write traces/ in shards.

Every answer is in the ledger before anything else sees it: a command that was killed goes on where it was, and a recipe
with more draws or problems buys only the difference.
"""

import time
from collections.abc import Iterator, Mapping

from cluster.asks import Ask, Part, TeacherAt, read_kept
from cluster.curation import shard_name
from cluster.each import each
from cluster.models import probe
from jobs.curate import known_size
from jobs.draws import base_at, drawn, nothing_new
from jobs.job import Incomplete, Job, Plan, Summary, main, number, previous
from jobs.ready import connected
from jobs.recipe import Recipe
from jobs.steps import Step, steps_of, store_of
from jobs.worst import at_most, in_all, judge_line, judges, most_tokens
from pipeline.errors import Stop
from pipeline.funnel import TraceCounts, count_traces, count_unasked
from pipeline.record import Trace, from_table


def plan(recipe: Recipe) -> Plan:
    """What would be asked, at what worst cost."""
    problems = known_size(recipe)
    lines = [("problems", f"up to {number(problems)}")]
    cost, answers = 0.0, 0
    for generation in recipe.distill.generations:
        calls = round(problems * generation.problems) * generation.draws
        most = calls * most_tokens(generation)
        answers += calls
        text = f"{number(calls)} calls of the {generation.engine}, at most {number(most)} tokens"
        if generation.engine == "teacher" and recipe.teacher is not None:
            worst = calls * recipe.teacher.cost(
                prompt=recipe.estimate.prompt_tokens, cached=0, completion=most_tokens(generation)
            )
            cost += worst
            text += f", {at_most(recipe, 'teacher', worst)}"
        lines.append((f"generation {generation.name}", text))
    asked = answers if any(judges(recipe, source) for source in recipe.sources) else 0
    judge, worst = judge_line(recipe, asked)
    paid = ["teacher"] if any(each.engine == "teacher" for each in recipe.distill.generations) else []
    if recipe.judge is not None and asked:
        paid.append(recipe.judge.engine)
    return [*lines, *judge, *_about_teacher(recipe), ("worst cost", in_all(recipe, cost + worst, paid))]


def _about_teacher(recipe: Recipe) -> Plan:
    if recipe.teacher is None:
        return []
    lines = [("teacher", recipe.teacher.identity)]
    if recipe.teacher.standin:
        lines.append(("", "this is the stand-in: it answers by rule or from a file, and is no language model"))
    return lines


def work(recipe: Recipe) -> Summary:
    """Distil, unless it is done."""
    steps = steps_of(recipe)
    if steps.distill.state() == "done":
        return nothing_new(previous(recipe, "distill"))
    steps.distill.needs(steps.curate)
    if any(generation.engine == "student" for generation in recipe.distill.generations):
        probe(recipe.student.model)
    with connected(recipe, "distill"):
        steps.distill.begin()
        started = time.monotonic()
        counts = TraceCounts()
        try:
            _distill(recipe, steps.distill, counts)
        except Stop as stop:
            raise Incomplete(str(stop), _summary(counts, started)) from stop
    return _summary(counts, started)


def _summary(counts: TraceCounts, started: float) -> Summary:
    return {**counts.as_json(), "seconds": round(time.monotonic() - started, 1)}


def _distill(recipe: Recipe, step: Step, counts: TraceCounts) -> None:
    store = store_of(recipe)
    names = [shard_name(number) for number in range(recipe.shards)]
    done = set(store.names(step.folder, ".parquet"))
    parts = [
        Part(f"problems/{name}.parquet", f"problems/{name}", f"traces/{name}.parquet")
        for name in names
        if f"{name}.parquet" not in done
    ]

    shown = [(asked, recipe.template(asked.prompt)) for asked in recipe.distill.generations]

    def count(name: str) -> TraceCounts:
        counts = count_traces(from_table(store.read_table(f"traces/{name}"), Trace), {}, invocation="")
        counts.unasked = count_unasked(read_kept(store, f"problems/{name}"), shown)
        return counts

    for found in each(sorted(done), count, name=f"{recipe.name}-distill-count"):
        counts.add(found)
    asked = [generation.engine for generation in recipe.distill.generations]
    for found in drawn(recipe, parts, of=asked, asks=lambda teachers: list(_asks(recipe, teachers)), title="distill"):
        counts.add(found)


def _asks(recipe: Recipe, teachers: Mapping[str, TeacherAt]) -> Iterator[Ask]:
    for generation in recipe.distill.generations:
        engine = base_at(recipe) if generation.engine == "student" else teachers[generation.engine]
        yield Ask(generation, recipe.template(generation.prompt), engine, recipe.seed)


JOB = Job("distill", __doc__ or "", plan, work)

if __name__ == "__main__":
    main(JOB)
