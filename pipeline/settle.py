"""The rules that look at several rows: the same prompt twice, a benchmark's problem, one problem in other words."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pipeline.alike.match import Matched, matched, why
from pipeline.alike.overlap import Index, Match
from pipeline.curate import CurateSettings
from pipeline.record import Problem
from pipeline.written import exact_number, normal

_NO_TEXT = frozenset({"unreadable", "no_prompt"})


def settle(
    problems: Iterable[Problem], *, index: Index | None, settings: CurateSettings
) -> tuple[list[Problem], list[Matched]]:
    """A shard's problems in order of id, judged by the rules that look at several rows, and what matched a benchmark.

    Of equal prompts the first in the order of the sources stays. A benchmark's problem is named as such whatever else
    is wrong with it. Without an index nothing is held out.
    """
    ordered = sorted(problems, key=lambda problem: problem.id)  # stable: source order within an id
    ordered, matches = _held_out(ordered, index, settings)
    answers: dict[str, set[str]] = {}
    for problem in ordered:
        if problem.drop is None:
            answers.setdefault(problem.id, set()).add(_value(problem.answer))
    seen: set[str] = set()
    settled = []
    for problem in ordered:
        if problem.drop is None:
            problem = _against_others(problem, seen=seen, answers=answers, settings=settings)
            seen.add(problem.id)
        settled.append(problem)
    return settled, matches


def apart(problems: Iterable[Problem], members: Sequence[Mapping[str, Any]], settings: CurateSettings) -> list[Problem]:
    """The problems with their clusters; of those that say the same, only the keeper stays.

    `members` are the lines that cluster.near wrote for this shard. A problem that is alone is its own cluster.
    """
    member = {line["id"]: line for line in members}
    return [_placed(problem, member.get(problem.id), settings) for problem in problems]


def _placed(problem: Problem, line: Mapping[str, Any] | None, settings: CurateSettings) -> Problem:
    if line is None:
        return replace(problem, cluster=problem.id) if problem.drop is None else problem
    problem = replace(problem, cluster=line["cluster"])
    if problem.drop is not None:
        return problem
    if line.get("beside") and "beside_benchmark" in settings.rules:
        said = f"says the same as {line['beside'][:8]}, which is a benchmark's problem"
        return replace(problem, drop="beside_benchmark", drop_why=said)
    if line["keeper"] != problem.id and "near_duplicate" in settings.rules:
        said = f"says the same as {line['keeper'][:8]}, similarity {line['similarity']:.2f}"
        return replace(problem, drop="near_duplicate", drop_why=said)
    return problem


def _held_out(
    problems: list[Problem], index: Index | None, settings: CurateSettings
) -> tuple[list[Problem], list[Matched]]:
    if index is None:
        return problems, []
    found = index.prompts(["" if problem.drop in _NO_TEXT else problem.prompt for problem in problems])
    out, matches = [], []
    for problem, match in zip(problems, found, strict=True):
        if match is not None and match.layer in (*settings.rules, "in_benchmark"):
            problem = replace(problem, drop=match.layer, drop_why=_said(problem, match))
            matches.append(matched(match, where="prompt", id=problem.id, source=problem.source, text=problem.prompt))
        out.append(problem)
    return out, matches


def _said(problem: Problem, match: Match) -> str:
    return why(match) if problem.drop is None else f"{why(match)} (and {problem.drop})"


def _value(answer: str) -> str:
    """The same text for answers that say the same: 1,000 and 1000.0."""
    number = exact_number(answer)
    return normal(answer) if number is None else str(number)


def _against_others(
    problem: Problem, *, seen: set[str], answers: Mapping[str, set[str]], settings: CurateSettings
) -> Problem:
    if "conflicting_answer" in settings.rules and len(answers[problem.id]) > 1:
        why = "the same prompt comes with: " + " | ".join(sorted(answers[problem.id]))
        return replace(problem, drop="conflicting_answer", drop_why=why)
    if problem.id in seen:
        return replace(problem, drop="duplicate", drop_why="the same prompt came before")
    return problem
