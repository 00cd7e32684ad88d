"""Compare ways of choosing and training on the same problems and traces: paired, at equal trained tokens.

The recipe's problems and traces are made once. Each arm of ARMS.yaml changes `choose` and `train` only; it is chosen,
trained and evaluated in a folder of its own, <run>/arms/NAME. Then every two arms are compared on the same held-out
problems. An arm that is done is not done again.
"""

import argparse
import contextlib
from collections.abc import Sequence
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from cluster.models import probe
from jobs import choose, curate, distill, evaluate, train
from jobs.arms import Arms, Run, base_run, load_arms, runs
from jobs.compared import compared, markdown
from jobs.job import Job, Plan, Summary, begin, number, one_line, run, wanted
from jobs.ready import connected
from jobs.recipe import Recipe
from jobs.recipe_file import load
from jobs.steps import steps_of, store_of
from pipeline.errors import BadRecipe, Stop
from pipeline.training.settings import Phase

_TABLE = "summary/compare.md"
_JOBS = (curate.JOB, distill.JOB, choose.JOB, train.JOB, evaluate.JOB)
_AROUND = 16
"""At most so many trained tokens of an example are not its thought's or its reply's."""


def plan(recipe: Recipe, *, arms: Arms) -> Plan:
    """What would be made once, and what for every arm."""
    every = _runs(recipe, arms)
    shared = wanted(recipe, curate.JOB, distill.JOB)
    lines = [(f"{job.name}: {name}", value) for job in shared for name, value in job.plan(recipe)]
    lines.append(("base", "measured once"))
    for each in every:
        state = " (trained already)" if steps_of(each.recipe).train.state() == "done" else ""
        lines.append((f"arm {each.title}", f"{'; '.join(map(_told, each.recipe.train.phases))}{state}"))
    # Seeds change nothing that a plan says.
    once = {each.arm: each.recipe for each in reversed(every)}
    for name, made in reversed(once.items()):
        lines += [(f"arm {name}: train: {what}", value) for what, value in train.JOB.plan(made)]
    pairs = (len(once) + 1) * len(once) // 2
    return [*lines, ("compares", f"{pairs} pairs of {len(once)} arms and base"), ("writes", f"{_TABLE} and .json")]


def work(recipe: Recipe, *, arms: Arms) -> Summary:
    """Make what all arms share, then every arm that is not done, then the table."""
    every, base = _runs(recipe, arms), base_run(recipe)
    store = store_of(recipe)
    with contextlib.ExitStack() as stack:
        if any(_open(each.recipe, *_JOBS) for each in every) or _open(base, evaluate.JOB):
            probe(recipe.student.model)
            stack.enter_context(connected(recipe, "curate", "distill", "choose", "train", "evaluate"))
        _do(recipe, curate.JOB, distill.JOB)
        # Before hours of training: an arm that can't be chosen, or has too few tokens, stops all.
        for each in every:
            _do(each.recipe, choose.JOB)
            enough(each)
        _do(base, evaluate.JOB)
        for place, each in enumerate(every, start=1):
            if _open(each.recipe, train.JOB, evaluate.JOB):
                print(f"arm {each.title} ({place} of {len(every)})", flush=True)
            _do(each.recipe, train.JOB, evaluate.JOB)
            # Gigabytes, and of no more use: model/ is there.
            store_of(each.recipe).delete_folder("checkpoints")
    summary = {"tokens_asked": arms.tokens, "seeds": list(arms.seeds), **compared(base, every)}
    table = markdown(summary)
    store.write_bytes(_TABLE, table.encode())
    print(table, flush=True)
    return {**summary, "table": store.address(_TABLE)}


def _runs(recipe: Recipe, arms: Arms) -> list[Run]:
    if not recipe.evaluate.benchmarks:
        raise BadRecipe("evaluate.benchmarks is empty: there is nothing to compare on")
    for name, arm in arms.arms.items():
        if arm.choose and not recipe.makes_traces:
            raise BadRecipe(f"arm {name}: the recipe has no sources to choose from, so an arm can only change train")
    return runs(recipe, arms)


def _open(recipe: Recipe, *jobs: Job) -> bool:
    """Whether the step of one of these jobs is still to do."""
    steps = steps_of(recipe)
    found = [steps.named(job.name) for job in wanted(recipe, *jobs)]
    return any(step is None or step.state() != "done" for step in found)


def _do(recipe: Recipe, *jobs: Job) -> None:
    """Those of the jobs whose step is not done."""
    for job in jobs:
        if _open(recipe, job):
            run(job, recipe)


def enough(each: Run) -> None:
    """Raise Stop where a phase can't be trained on as many tokens as it says: its arm would not be equal."""
    store = store_of(each.recipe)
    for phase in each.recipe.train.phases:
        if phase.tokens is None or phase.dataset is not None:
            continue
        held, examples = 0, 0
        for name in (name for name in store.names("dataset", ".parquet") if name.startswith("train-")):
            rows = store.read_table(f"dataset/{name}", columns=["generation", "student_tokens"])
            mine = rows.filter(pc.is_in(rows["generation"], value_set=pa.array(phase.generations)))
            held, examples = held + (pc.sum(mine["student_tokens"]).as_py() or 0), examples + mine.num_rows
        # The tags around a thought and the end of the turn are trained on too, and are in no count of tokens.
        most = phase.epochs * (held + _AROUND * examples)
        if most < phase.tokens:
            raise Stop(
                f"arm {each.arm}: phase {phase.name} has at most {most:,} tokens to train on in {phase.epochs} "
                f"epochs of {examples:,} examples, and needs {phase.tokens:,}: give it more epochs, or all fewer tokens"
            )


def _told(phase: Phase) -> str:
    """A phase in a plan's line."""
    until = "" if phase.tokens is None else f", until {number(phase.tokens)} trained tokens"
    return f"{phase.name}: {', '.join(phase.generations) or phase.dataset}, up to {phase.epochs} epochs{until}"


def main(argv: Sequence[str] | None = None) -> None:
    """Run the job from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m jobs.compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", help="a YAML file, such as jobs/recipes/phases.yaml")
    parser.add_argument("arms", metavar="ARMS.yaml", help="what is compared, such as jobs/recipes/compare.yaml")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="overrides of the recipe")
    parser.add_argument("--dry-run", action="store_true", help="check recipe and arms, and print what would be done")
    arguments = parser.parse_intermixed_args(argv)
    with one_line():
        recipe, arms = load(arguments.recipe, arguments.overrides), load_arms(arguments.arms)
        begin(job_of(arms), recipe, dry_run=arguments.dry_run)


def job_of(arms: Arms) -> Job:
    """The job that compares these arms."""
    about = frozenset({"base", "arms", "paired"})
    return Job("compare", __doc__ or "", partial(plan, arms=arms), partial(work, arms=arms), about)


if __name__ == "__main__":
    main()
