"""The teachers of a recipe where they are reached; stand-ins run for as long as they are needed."""

import contextlib
from collections.abc import Iterable, Iterator

from cluster.asks import TeacherAt
from cluster.session import secret
from cluster.standin import standin
from jobs.recipe import Recipe


@contextlib.contextmanager
def teachers_at(recipe: Recipe, names: Iterable[str]) -> Iterator[dict[str, TeacherAt]]:
    """Those of these names that are teachers, by name. Raises Stop when a key is not there."""
    with contextlib.ExitStack() as running:
        yield {name: _at(recipe, name, running) for name in dict.fromkeys(names) if name in recipe.teachers}


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
