"""Whether the parts of a recipe fit each other: every name that one part uses must be one that another part makes."""

from typing import TYPE_CHECKING

from pipeline.generate import Generation
from pipeline.prompts import is_judging
from pipeline.settings import NAME

if TYPE_CHECKING:
    from jobs.recipe import Recipe

_OWN_NAMES = ("base", "student", "teacher")


def check_names(recipe: "Recipe") -> None:
    """Raise ValueError when a part of the recipe names what another part does not have, or asks what it can't do."""
    names = [generation.name for generation in recipe.distill.generations]
    _rows_fit(recipe)
    if len(set(names)) < len(names):
        raise ValueError(f"distill.generations: names must differ, got {', '.join(names)}")
    for generation in recipe.distill.generations:
        _needs_prompt(recipe, f"distill.generations.{generation.name}.prompt", generation.prompt)
        if generation.train_prompt is not None:
            _needs_prompt(recipe, f"distill.generations.{generation.name}.train_prompt", generation.train_prompt)
        if generation.engine == "teacher" and recipe.teacher is None:
            raise ValueError(f"distill.generations.{generation.name} asks the teacher: add a teacher section")
        _truncation_fits(recipe, generation, f"distill.generations.{generation.name}.truncated")
    _needs_prompt(recipe, "evaluate.prompt", recipe.evaluate.prompt)
    _curation_fits(recipe)
    _teachers_fit(recipe)
    _judge_fits(recipe)
    _budgets_fit(recipe)
    _ks_fit(recipe)
    phases = [phase.name for phase in recipe.train.phases]
    if len(set(phases)) < len(phases):
        raise ValueError(f"train.phases: names must differ, got {', '.join(phases)}")
    if recipe.train.watch.evaluate_steps is not None and not recipe.evaluate.benchmarks:
        raise ValueError("train.watch.evaluate_steps: evaluate.benchmarks is empty, so there is nothing to measure on")
    for phase in recipe.train.phases:
        for name in phase.generations:
            # Rows from outside have names of their own.
            if phase.dataset is None and name not in names:
                raise ValueError(f"train.phases.{phase.name}: no generation {name!r}; there are {', '.join(names)}")


def _rows_fit(recipe: "Recipe") -> None:
    """Where rows come from: from sources through generations, or, without either, from every phase's data set."""
    if recipe.sources and not recipe.distill.generations:
        raise ValueError("distill.generations=[]: say which traces are made of the sources, or take these out")
    if recipe.sources:
        return
    if recipe.distill.generations:
        raise ValueError("sources=[]: name where the problems of distill.generations come from")
    for phase in recipe.train.phases:
        if phase.dataset is None:
            raise ValueError(
                f"train.phases.{phase.name}: nothing makes its rows: add sources and distill, or give it a dataset"
            )
    for name, asked in (("paraphrases", recipe.paraphrases), ("difficulty", recipe.difficulty)):
        if asked is not None:
            raise ValueError(f"{name}: it is about the problems of sources, and there are none: take it out")


def _teachers_fit(recipe: "Recipe") -> None:
    for name in recipe.evaluate.teachers:
        if not NAME.fullmatch(name) or name in _OWN_NAMES:
            raise ValueError(
                f"evaluate.teachers: {name!r} can't be a name: use letters, digits, dots and dashes, "
                f"and none of {', '.join(_OWN_NAMES)}"
            )
    for name, teacher in recipe.teachers.items():
        where = "teacher" if name == "teacher" else f"evaluate.teachers.{name}"
        if recipe.budget_usd is not None and not teacher.priced:
            prices = f"{where}.prompt_usd_per_mtok and completion_usd_per_mtok"
            raise ValueError(f"budget_usd needs the teacher's prices: set {prices}")
    if len(set(recipe.evaluate.models)) < len(recipe.evaluate.models):
        raise ValueError(f"evaluate.models: names must differ, got {', '.join(recipe.evaluate.models)}")
    for name in recipe.evaluate.models:
        if name == "teacher" and recipe.teacher is None:
            raise ValueError("evaluate.models names the teacher: add a teacher section")
        if name not in ("base", "student", *recipe.teachers):
            known = ", ".join(("base", "student", *recipe.teachers))
            raise ValueError(f"evaluate.models: nobody is called {name!r}; there are {known}")


def _judge_fits(recipe: "Recipe") -> None:
    if recipe.judge is None:
        for source in (*recipe.sources, *recipe.evaluate.benchmarks.values()):
            if source.kind == "judge":
                raise ValueError(f"source {source.name} is of kind judge: add a judge section that says who judges")
        return
    if recipe.judge.engine not in recipe.teachers:
        known = ", ".join(recipe.teachers) or "none: add a teacher section"
        raise ValueError(f"judge.engine: no teacher is called {recipe.judge.engine!r}; there are {known}")
    _needs_prompt(recipe, "judge.prompt", recipe.judge.prompt, judging=True)


def _budgets_fit(recipe: "Recipe") -> None:
    budgets, most = recipe.evaluate.thought_budgets, recipe.evaluate.sampling.max_tokens
    if len(set(budgets)) < len(budgets):
        raise ValueError(f"evaluate.thought_budgets: {', '.join(map(str, budgets))} must all differ")
    for tokens in budgets:
        if not 0 < tokens < most:
            right = f"must be above 0 and below sampling.max_tokens={most}"
            raise ValueError(f"evaluate.thought_budgets: {tokens} {right}")


def _ks_fit(recipe: "Recipe") -> None:
    ks, draws = recipe.evaluate.k, recipe.evaluate.draws
    if len(set(ks)) < len(ks):
        raise ValueError(f"evaluate.k: {', '.join(map(str, ks))} must all differ")
    for k in ks:
        if k < 1:
            raise ValueError(f"evaluate.k: pass@{k} means nothing: k must be 1 or more")
        if k > draws:
            raise ValueError(f"evaluate.k: pass@{k} needs {k} draws, evaluate.draws is {draws}")


def _truncation_fits(recipe: "Recipe", generation: Generation, where: str, teacher: str = "teacher") -> None:
    policy, asked = generation.truncated, recipe.teachers.get(teacher)
    unable = generation.engine == "teacher" and (asked is None or asked.continues == "no")
    if policy.policy in ("continue", "force") and unable:
        fix = "needs teacher.continues (how the endpoint goes on from a prefix)"
        raise ValueError(f"{where}: {policy.policy} {fix}")
    raised = policy.max_tokens if policy.policy == "raise" else None
    if raised is not None and raised <= generation.sampling.max_tokens:
        raise ValueError(f"{where}.max_tokens={policy.max_tokens} must be above sampling.max_tokens")


def _needs_prompt(recipe: "Recipe", where: str, name: str, *, judging: bool = False) -> None:
    known = [each for each, text in recipe.all_prompts.items() if is_judging(text) == judging]
    if name not in known:
        what = "judge's prompt" if judging else "prompt"
        raise ValueError(f"{where}: no {what} {name!r}; there are {', '.join(known)}")


def _curation_fits(recipe: "Recipe") -> None:
    for where, asked in (("paraphrases", recipe.paraphrases), ("difficulty", recipe.difficulty)):
        if asked is None:
            continue
        if asked.engine not in ("student", *recipe.teachers):
            known = ", ".join(("student", *recipe.teachers))
            raise ValueError(f"{where}.engine: nobody is called {asked.engine!r}; there are {known}")
        _needs_prompt(recipe, f"{where}.prompt", asked.prompt)
        _truncation_fits(recipe, asked.generation, f"{where}.truncated", asked.engine)
    if recipe.paraphrases is not None and not recipe.evaluate.benchmarks:
        raise ValueError("paraphrases: evaluate.benchmarks is empty, so there is nothing to look for")
