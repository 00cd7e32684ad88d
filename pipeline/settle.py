"""The rules that look at several rows: the same prompt twice, a benchmark's problem, one problem in other words."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from difflib import SequenceMatcher
from typing import Any

from pipeline.alike.match import SHOWN_CHARS, Matched, matched, why
from pipeline.alike.overlap import Index, Match
from pipeline.alike.words import words
from pipeline.curate import CurateSettings
from pipeline.record import Problem
from pipeline.rules.normalise import normal_answer, normal_prompt
from pipeline.written import exact_number, normal

_BENCHMARK = "benchmark "
_COMPARED_WORDS = 1000
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


def own_rows(held_out: Iterable[tuple[str, Problem]], settings: CurateSettings) -> list[Problem]:
    """The benchmarks' own problems as rows that fell out, by id, each once; their source is "benchmark NAME".

    They are written as the sources' rows are, so that both have the same words and answers.
    """
    rows: dict[str, Problem] = {}
    for name, problem in held_out:
        prompt, answer = problem.prompt, problem.answer
        if settings.normalise:
            prompt, answer = normal_prompt(prompt, kind=problem.kind), normal_answer(answer, kind=problem.kind)
        asked = replace(problem, prompt=prompt, answer=answer, raw_prompt=problem.prompt, source=_BENCHMARK + name)
        rows.setdefault(problem.id, replace(asked, drop="in_benchmark", drop_why=None))
    return [rows[identifier] for identifier in sorted(rows)]


def own_texts(rows: Iterable[Mapping[str, Any]]) -> dict[str, tuple[str, str, str]]:
    """What `own_rows` told, by the row's id: the benchmark, its problem's id, and its text as it was published."""
    return {row["id"]: (row["source"].removeprefix(_BENCHMARK), row["id"], row["raw_prompt"]) for row in rows}


def beside(
    problems: Iterable[Problem], members: Sequence[Mapping[str, Any]], theirs: Mapping[str, tuple[str, str, str]]
) -> list[Matched]:
    """What is written of the problems that went as `beside_benchmark`, with both texts.

    `theirs` has of each row that `members` lie beside the benchmark, and its problem's id and text.
    """
    member = {line["id"]: line for line in members}
    return [
        _beside(problem, member[problem.id], *theirs[member[problem.id]["beside"]])
        for problem in problems
        if problem.drop == "beside_benchmark"
    ]


def _beside(problem: Problem, line: Mapping[str, Any], benchmark: str, benchmark_id: str, text: str) -> Matched:
    said, theirs = (words(one)[:_COMPARED_WORDS] for one in (problem.prompt, text))
    run = SequenceMatcher(None, said, theirs, autojunk=False).find_longest_match()
    return Matched(
        where="prompt",
        id=problem.id,
        source=problem.source,
        layer="beside_benchmark",
        benchmark=benchmark,
        benchmark_id=benchmark_id,
        score=line["similarity"],
        shared=" ".join(said[run.a : run.a + run.size])[:SHOWN_CHARS],
        text=problem.prompt[:SHOWN_CHARS],
        benchmark_text=text[:SHOWN_CHARS],
    )


def _placed(problem: Problem, line: Mapping[str, Any] | None, settings: CurateSettings) -> Problem:
    if line is None:
        return replace(problem, cluster=problem.id) if problem.drop is None else problem
    problem = replace(problem, cluster=line["cluster"])
    if problem.drop is not None:
        return problem
    if line["beside"] and "beside_benchmark" not in settings.rules:
        return problem
    if line["beside"]:
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
