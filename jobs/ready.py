"""The connection that a job works on, once the cluster has shown that it can do all that is still to be done."""

import contextlib
from collections.abc import Iterable, Iterator

import ray

from cluster.needs import Bundle, check_needs
from cluster.reach import check_reach
from cluster.session import is_local, session
from jobs.recipe import Recipe
from jobs.steps import store_of

_TASK = Bundle("a task", "cpu", {"CPU": 1.0})
"""The largest of the tasks that curating and choosing are made of."""


@contextlib.contextmanager
def connected(recipe: Recipe, *jobs: str) -> Iterator[None]:
    """A session for these jobs. Raises Stop, before anything is bought, where the cluster can't do one of them.

    Inside another one it is that one's session, and nothing is asked twice.
    """
    inside = ray.is_initialized()
    with session(recipe.cluster):
        if not inside:
            for job in jobs:
                for bundles in needs_of(recipe, job):
                    check_needs(job, bundles, alone=is_local(recipe.cluster))
            if not is_local(recipe.cluster):
                check_reach(store_of(recipe))
        yield


def needs_of(recipe: Recipe, job: str) -> Iterator[list[Bundle]]:
    """What a job needs at the least: for each of its stages what must be there at the same time."""
    if job in ("curate", "choose"):
        yield [_TASK]
    if job == "curate":
        for asked in (recipe.paraphrases, recipe.difficulty):
            if asked is not None:
                yield list(_stream(recipe, [asked.engine]))
    elif job == "distill":
        yield list(_stream(recipe, [generation.engine for generation in recipe.distill.generations]))
    elif job == "train":
        settings = recipe.train
        resources = {"CPU": float(settings.cpus_per_worker)} | ({"GPU": 1.0} if settings.device == "gpu" else {})
        yield [Bundle("a training worker", "training", resources)] * settings.workers[0]
    elif job == "evaluate" and recipe.evaluate.benchmarks:
        for model in recipe.evaluate.models:
            yield list(_stream(recipe, [model]))


def _stream(recipe: Recipe, asked: Iterable[str]) -> Iterator[Bundle]:
    judge = [recipe.judge.engine] if recipe.judge is not None else []
    for name in [*asked, *judge]:
        yield from _engine(recipe, name)
    yield Bundle("a verifier", "cpu", {"CPU": recipe.stream.verifier_cpus})


def _engine(recipe: Recipe, name: str) -> Iterator[Bundle]:
    if name in recipe.teachers:
        yield Bundle(f"a caller of {name}", "cpu", {"CPU": recipe.stream.caller_cpus})
        return
    engine = recipe.student.engine
    gpus = engine.tensor_parallel if engine.device == "gpu" else 0
    yield Bundle("a vLLM engine", "engines", {"CPU": engine.cpus} | ({"GPU": 1.0} if gpus else {}))
    yield from [Bundle("a vLLM engine", "engines", {"GPU": 1.0})] * (gpus - 1)
