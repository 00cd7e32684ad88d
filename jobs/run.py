"""The whole way: curate, distill, choose, train, evaluate, report; what is done is skipped."""

import contextlib

from cluster.models import probe
from cluster.session import dashboard_url
from jobs import choose, curate, distill, evaluate, report, train
from jobs.job import Job, Plan, Summary, main, run, wanted
from jobs.ready import connected
from jobs.recipe import Recipe
from jobs.steps import steps_of, store_of

_JOBS = (curate.JOB, distill.JOB, choose.JOB, train.JOB, evaluate.JOB, report.JOB)


def plan(recipe: Recipe) -> Plan:
    """The plans of all steps."""
    return [(f"{job.name}: {name}", value) for job in wanted(recipe, *_JOBS) for name, value in job.plan(recipe)]


def work(recipe: Recipe) -> Summary:
    """Do every step that is not done yet."""
    steps = steps_of(recipe)
    jobs = wanted(recipe, *_JOBS)
    made = [step for job in jobs if (step := steps.named(job.name)) is not None]
    states = {step.name: step.state() for step in made}
    if states["train"] != "done":
        # Before anything is bought for it.
        probe(recipe.student.model)
    with contextlib.ExitStack() as stack:
        if to_do := [name for name, state in states.items() if state != "done"]:
            stack.enter_context(connected(recipe, *to_do))
            if url := dashboard_url():
                print(f"Ray dashboard: {url}", flush=True)
        for job in jobs:
            if states.get(job.name) == "stale":
                print(f"{job.name}: the recipe changed, so this step is made again (the ledger keeps what was bought)")
            run(job, recipe)
    return {
        "done before": [name for name, state in states.items() if state == "done"],
        "report": store_of(recipe).address("report.html"),
    }


JOB = Job("run", __doc__ or "", plan, work)

if __name__ == "__main__":
    main(JOB)
