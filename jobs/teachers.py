"""The teachers of a recipe where they are reached; stand-ins run for as long as they are needed."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping

from cluster.asks import Ask, Judging, TeacherAt
from cluster.session import secret
from cluster.standin import standin
from jobs.recipe import Recipe


@contextlib.contextmanager
def teachers_at(recipe: Recipe, names: Iterable[str]) -> Iterator[dict[str, TeacherAt]]:
    """Those of these names that are teachers, and the judge, by name. Raises Stop when a key is not there."""
    asked = [*names, *([recipe.judge.engine] if recipe.judge else [])]
    with contextlib.ExitStack() as running:
        yield {name: _at(recipe, name, running) for name in dict.fromkeys(asked) if name in recipe.teachers}


def judging_of(recipe: Recipe, teachers: Mapping[str, TeacherAt]) -> Judging | None:
    """The recipe's LLM judge, if it has one."""
    judge = recipe.judge
    if judge is None:
        return None
    ask = Ask(judge.generation, recipe.template(judge.prompt), teachers[judge.engine], recipe.seed)
    return Judging(ask, judge.asks)


def _at(recipe: Recipe, name: str, running: contextlib.ExitStack) -> TeacherAt:
    settings = recipe.teachers[name]
    if settings.standin is not None:
        endpoints = settings.at(running.enter_context(standin(settings.standin)))
    else:
        endpoints = settings.at()
        for endpoint in endpoints:
            # Said here, before any actor starts.
            secret(endpoint.api_key_env, endpoint.api_key_file)
    return TeacherAt(settings, endpoints, recipe.budget_usd, name)
