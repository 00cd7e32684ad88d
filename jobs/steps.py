"""The steps of a run, the folder that each makes, and the fingerprint of all that its content depends on."""

from dataclasses import dataclass
from typing import Any

from cluster.models import identity as model_identity
from jobs.recipe import Recipe
from pipeline import lineage
from pipeline.errors import Stop
from pipeline.settings import fingerprint
from pipeline.sources import content
from pipeline.store import Store

_SHARED = ("problems", "benchmarks", "traces", "ledger", "summary/curate.json", "summary/distill.json")
"""What a run with `shares` has in that other run's folder."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a run."""

    name: str
    folder: str
    fingerprint: str
    store: Store

    def state(self) -> lineage.State:
        """new, begun, done, or stale (made by another recipe)."""
        return lineage.state(self.store, self.folder, fingerprint=self.fingerprint)

    def begin(self) -> None:
        """Make the folder ready for this recipe. Raises Stop for one that is another run's."""
        if (root := self.store.root_of(self.folder)) != self.store.root:
            raise Stop(f"{self.folder}/ is shared with {root} and not made by this recipe: run jobs.{self.name} there")
        lineage.begin(self.store, self.folder, fingerprint=self.fingerprint)

    def finish(self) -> None:
        """Mark the step as complete."""
        lineage.finish(self.store, self.folder, fingerprint=self.fingerprint)

    def needs(self, before: "Step") -> None:
        """Raise Stop unless the step before is done by this recipe."""
        if before.state() != "done":
            raise Stop(f"{before.folder}/ is not ready for this recipe: run jobs.{before.name} first (or jobs.run)")


@dataclass(frozen=True, slots=True)
class Steps:
    """All steps of a recipe, in order."""

    curate: Step
    distill: Step
    choose: Step
    train: Step
    evaluate: Step

    def named(self, name: str) -> Step | None:
        """The step that a job makes, if it makes one."""
        return getattr(self, name, None)


def store_of(recipe: Recipe) -> Store:
    """The run's folder."""
    shared = tuple((name, recipe.shares) for name in _SHARED) if recipe.shares else ()
    return Store(Store(recipe.storage).address(recipe.name), shared)


def steps_of(recipe: Recipe) -> Steps:
    """The steps of a recipe; changing what a step depends on changes its fingerprint and those after it."""
    store = store_of(recipe)
    teacher = recipe.teacher.identity if recipe.teacher else None
    base = model_identity(recipe.student.model)

    def step(name: str, folder: str, *parts: Any) -> Step:
        return Step(name, folder, fingerprint(name, *parts), store)

    files = [content(source) for source in (*recipe.sources, *recipe.evaluate.benchmarks.values())]
    read = [recipe.sources, recipe.curate, recipe.shards, recipe.evaluate.benchmarks, files]
    curate = step("curate", "problems", *read, *_asked_of_problems(recipe, base))
    asked = [
        (generation, recipe.template(generation.prompt), teacher if generation.engine == "teacher" else base)
        for generation in recipe.distill.generations
    ]
    student = [recipe.student.engine] if any(g.engine == "student" for g, *_ in asked) else []
    judge = _judge(recipe)
    distill = step("distill", "traces", curate.fingerprint, asked, student, recipe.verify, recipe.seed, *judge)
    trained_under = [
        recipe.template(generation.train_prompt) if generation.train_prompt else None
        for generation in recipe.distill.generations
    ]
    # The student's tokenizer counts what is chosen.
    choose = step("choose", "dataset", distill.fingerprint, recipe.choose, trained_under, recipe.seed, base)
    outside = [stamp(phase.dataset) for phase in recipe.train.phases if phase.dataset is not None]
    if outside and recipe.evaluate.benchmarks:
        outside.append("without held-out problems")
    train = step("train", "model", choose.fingerprint, recipe.train, base, recipe.seed, *outside)
    evaluate = step(
        "evaluate",
        "scores",
        recipe.evaluate,
        recipe.template(recipe.evaluate.prompt),
        recipe.student.engine,
        recipe.verify,
        recipe.seed,
        base,
        {name: recipe.teachers[name].identity for name in recipe.evaluate.models if name in recipe.teachers},
        train.fingerprint if "student" in recipe.evaluate.models else None,
        *judge,
    )
    return Steps(curate, distill, choose, train, evaluate)


def _asked_of_problems(recipe: Recipe, base: str) -> list[Any]:
    """What the problems depend on where a model rates them or compares them with held-out ones; else nothing."""
    parts: list[Any] = []
    for asked in (recipe.paraphrases, recipe.difficulty):
        if asked is not None:
            who = base if asked.engine == "student" else recipe.teachers[asked.engine].identity
            parts += [asked, recipe.template(asked.prompt), who]
    if recipe.paraphrases is not None:
        parts.append(model_identity(recipe.paraphrases.embedder))
    if recipe.difficulty is not None:
        parts += [recipe.verify, recipe.seed, *_judge(recipe)]
    return parts


def stamp(dataset: str) -> str:
    """Names, sizes and times of the files of a data set from outside: they may be large, and far away."""
    try:
        return Store(dataset).stamp(".parquet")
    except (OSError, Stop):
        # Whoever reads it says so; other steps go on without it.
        return "not there"


def _judge(recipe: Recipe) -> list[Any]:
    """What the verdicts depend on where an LLM judges; nothing where none does."""
    if recipe.judge is None:
        return []
    return [recipe.judge, recipe.template(recipe.judge.prompt), recipe.teachers[recipe.judge.engine].identity]
