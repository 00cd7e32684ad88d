"""The arms of a comparison: runs that share a run's problems and traces, and differ in what is chosen and trained.

In: a recipe and a YAML file of arms. Out: a recipe for every run that is needed, each with a folder below the run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator, model_validator

from jobs.recipe import Recipe
from jobs.recipe_errors import line
from jobs.recipe_file import merged, values_of
from jobs.steps import steps_of, store_of
from pipeline.errors import BadRecipe
from pipeline.settings import NAME, Settings
from pipeline.training.settings import Phase

BASE = "base"
"""Who is measured beside the arms: the student before training."""
_FOLDER = "arms"
_MAY = ("choose", "train")


class Arm(Settings):
    """How one arm differs from the recipe; lists replace the recipe's, sections are merged into its."""

    choose: dict[str, Any] = {}
    """Over the recipe's `choose`."""
    train: dict[str, Any] = {}
    """Over the recipe's `train`."""

    @model_validator(mode="before")
    @classmethod
    def _shares_the_rest(cls, values: Any) -> Any:
        others = [str(key) for key in values if key not in _MAY] if isinstance(values, Mapping) else []
        if others:
            raise ValueError(
                f"{others[0]} can't differ between arms, which share problems and traces: only {_may()} can"
            )
        return values


class Arms(Settings):
    """What is compared."""

    tokens: int | None = Field(default=None, gt=0)
    """Trained tokens of every arm. Phases that say `tokens` keep theirs, the others share the rest evenly; none leaves
    the phases as they are."""
    seeds: tuple[int, ...] = ()
    """Each arm is trained once for each of these seeds of packing and order; none: once, with the recipe's."""
    arms: dict[str, Arm] = Field(min_length=1)
    """Name -> how it differs."""

    @field_validator("seeds")
    @classmethod
    def _differ(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) < len(seeds) or any(seed < 0 for seed in seeds):
            raise ValueError("must all differ, and be 0 or more")
        return seeds

    @field_validator("arms")
    @classmethod
    def _names(cls, arms: dict[str, Arm]) -> dict[str, Arm]:
        for name in arms:
            if name == BASE or not NAME.fullmatch(name):
                raise ValueError(f"{name!r} can't be an arm's name: use letters, digits, dots and dashes, not {BASE!r}")
        return arms


@dataclass(frozen=True, slots=True)
class Run:
    """One training of one arm, and the recipe of its own folder."""

    arm: str
    seed: int | None
    recipe: Recipe

    @property
    def title(self) -> str:
        """What it is called where a person watches."""
        return self.arm if self.seed is None else f"{self.arm}, seed {self.seed}"


def load_arms(path: str) -> Arms:
    """The arms of a file. Raises BadRecipe with one line that says what would be right."""
    try:
        return Arms.model_validate(values_of(Path(path)))
    except ValidationError as error:
        raise BadRecipe(f"{path}: {line(error, Arms)}") from error


def base_run(recipe: Recipe) -> Recipe:
    """The recipe that measures the student before training."""
    return _derived(recipe, BASE, {"evaluate": {"models": ["base"]}})


def runs(recipe: Recipe, arms: Arms) -> list[Run]:
    """Every training that the comparison needs, arm by arm. Raises BadRecipe for an arm that makes no recipe."""
    return [
        _run(recipe, name, arm, tokens=arms.tokens, seed=seed)
        for name, arm in arms.arms.items()
        for seed in arms.seeds or (None,)
    ]


def split(phases: Sequence[Phase], tokens: int, *, arm: str) -> list[int]:
    """An arm's trained tokens over its phases: those that say how many keep it, the others share the rest evenly."""
    said = sum(phase.tokens or 0 for phase in phases)
    free = [number for number, phase in enumerate(phases) if phase.tokens is None]
    if not free and said != tokens:
        raise BadRecipe(f"arm {arm}: its phases have {said:,} tokens together, which must be tokens={tokens:,}")
    if free and tokens - said < len(free):
        name = phases[free[0]].name
        raise BadRecipe(f"arm {arm}: of tokens={tokens:,} phases keep {said:,}, which leaves none for phase {name}")
    given = [phase.tokens or 0 for phase in phases]
    for place, number in enumerate(free):
        each, over = divmod(tokens - said, len(free))
        given[number] = each + (place < over)
    return given


def _run(recipe: Recipe, name: str, arm: Arm, *, tokens: int | None, seed: int | None) -> Run:
    folder = name if seed is None else f"{name}-seed{seed}"
    over: dict[str, Any] = {"choose": arm.choose, "train": arm.train, "evaluate": {"models": ["student"]}}
    over = {section: values for section, values in over.items() if values}
    if seed is not None:
        over["train"] = {**arm.train, "seed": seed}
    made = _derived(recipe, folder, over, arm=name)
    if tokens is not None:
        shares = split(made.train.phases, tokens, arm=name)
        phases = [
            {**phase.model_dump(exclude_unset=True), "tokens": share}
            for phase, share in zip(made.train.phases, shares, strict=True)
        ]
        made = _derived(made, folder, {"train": {"phases": phases}}, arm=name, storage=made.storage)
    return Run(name, seed, made)


def _derived(
    recipe: Recipe, name: str, over: Mapping[str, Any], *, arm: str = BASE, storage: str | None = None
) -> Recipe:
    """The recipe with other values, in a folder of its own below the run whose problems and traces it takes."""
    store = store_of(recipe)
    place = {"name": name, "storage": storage or store.address(_FOLDER), "shares": recipe.shares or store.root}
    try:
        made = Recipe.model_validate(merged(recipe.model_dump(exclude_unset=True), {**over, **place}))
    except ValidationError as error:
        raise BadRecipe(f"arm {arm}: {line(error)}") from error
    assert steps_of(made).distill.fingerprint == steps_of(recipe).distill.fingerprint, f"{name} is of other traces"
    return made


def _may() -> str:
    return " and ".join(_MAY)
