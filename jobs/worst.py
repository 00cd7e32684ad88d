"""The most that a command can cost, as its --dry-run says it."""

from collections.abc import Iterable

from jobs.job import Plan, number, usd
from jobs.recipe import Recipe
from pipeline.generate import Generation
from pipeline.llm_judge import LONGEST_QUESTION
from pipeline.sources import Source


def judges(recipe: Recipe, source: Source) -> bool:
    """Whether the recipe's judge may be asked about answers to a source's problems."""
    return recipe.judge is not None and (recipe.judge.asks != "judge_kind" or source.kind == "judge")


def judge_line(recipe: Recipe, answers: int) -> tuple[Plan, float]:
    """The judge's line for so many answers before it, and the most USD that it can cost; nothing without a judge."""
    judge = recipe.judge
    if judge is None:
        return [], 0.0
    teacher, calls = recipe.teachers[judge.engine], answers * judge.draws
    prompt = recipe.estimate.prompt_tokens + LONGEST_QUESTION
    cost = calls * teacher.cost(prompt=prompt, cached=0, completion=judge.sampling.max_tokens)
    said = f"up to {number(calls)} calls of {judge.engine}, {at_most(recipe, judge.engine, cost)}"
    return [("judge", said)], cost


def most_tokens(generation: Generation) -> int:
    """The most completion tokens that one draw may be billed, with what its truncation policy may ask after it."""
    first = generation.sampling.max_tokens
    policy = generation.truncated
    if policy.policy in ("raise", "force"):
        return first + (policy.max_tokens or 0)
    return first * (1 + policy.rounds) if policy.policy == "continue" else first


def at_most(recipe: Recipe, teacher: str, cost: float) -> str:
    """The most that calls of a teacher cost, in words."""
    return f"at most {usd(cost)}" if recipe.teachers[teacher].priced else "at an unknown price"


def in_all(recipe: Recipe, cost: float, teachers: Iterable[str]) -> str:
    """The most that all of it costs, of which calls of `teachers` are part, and where the budget stops it."""
    for name in teachers:
        if not recipe.teachers[name].priced:
            where = name if name == "teacher" else f"evaluate.teachers.{name}"
            return f"unknown: set {where}.prompt_usd_per_mtok and {where}.completion_usd_per_mtok"
    said = f"{usd(cost)} in all (without retries; what the ledger holds already is not bought again)"
    return said if recipe.budget_usd is None else f"{said}; budget_usd stops it at {usd(recipe.budget_usd)}"
