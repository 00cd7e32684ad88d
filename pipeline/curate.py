"""From raw rows to problems: each rule has a name, and what falls out keeps its row with that name in `drop`."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Literal

from pipeline.golds import bad_gold
from pipeline.record import Problem, problem_id
from pipeline.settings import Settings
from pipeline.source_files import Slice
from pipeline.sources import Raw, Source, read
from pipeline.written import exact_number, normal

Rule = Literal["no_prompt", "no_answer", "bad_gold", "image", "duplicate", "conflicting_answer", "in_benchmark"]

_IMAGE = re.compile(
    r"""(?ix)
    \[asy\] | \\includegraphics | !\[[^\]]*\]\( | <img\b | \.(?:png|jpe?g|gif|svg)\b
    | \b(?:in|see|from|on)\s+the\s+(?:\w+\s+)?(?:figure|diagram|picture|image|drawing)\b
    | \b(?:figure|diagram|picture|image|drawing|graph)\s+(?:is\s+|are\s+)?(?:shown\s+)?(?:below|above|shown)\b
    | \b(?:as|is|are)\s+(?:shown|pictured|depicted|illustrated)\s*(?:[.,:;]|below|above|$)
    | \bshown\s+(?:below|above)\b
    """
)


class CurateSettings(Settings):
    """Which problems are kept."""

    rules: tuple[Rule, ...] = (
        "no_prompt",
        "no_answer",
        "bad_gold",
        "image",
        "duplicate",
        "conflicting_answer",
        "in_benchmark",
    )
    """The rules that drop a problem. no_prompt, no_answer, bad_gold and duplicate always hold."""


def problems_of(source: Source, part: Slice, *, settings: CurateSettings) -> Iterator[Problem]:
    """The problems of one slice in its order, judged by the rules that look at one row."""
    for raw in read(source, part):
        yield _problem(source, raw, settings)


def settle(problems: Iterable[Problem], *, benchmark: frozenset[str], settings: CurateSettings) -> list[Problem]:
    """A shard's problems in order of id, judged by the rules that look at several rows.

    Of equal prompts the first in the order of the sources stays. `benchmark` holds the ids of held-out problems.
    """
    ordered = sorted(problems, key=lambda problem: problem.id)  # stable: source order within an id
    answers: dict[str, set[str]] = {}
    for problem in ordered:
        if problem.drop is None:
            answers.setdefault(problem.id, set()).add(_value(problem.answer))
    seen: set[str] = set()
    settled = []
    for problem in ordered:
        if problem.drop is None:
            problem = _against_others(problem, seen=seen, answers=answers, benchmark=benchmark, settings=settings)
            seen.add(problem.id)
        settled.append(problem)
    return settled


def _value(answer: str) -> str:
    """The same text for answers that say the same: 1,000 and 1000.0."""
    number = exact_number(answer)
    return normal(answer) if number is None else str(number)


def _problem(source: Source, raw: Raw, settings: CurateSettings) -> Problem:
    drop = None
    if raw.prompt is None:
        drop = "no_prompt"
    elif raw.answer is None:
        drop = "no_answer"
    bad = bad_gold(source.kind, raw.answer) if raw.answer is not None else None
    if drop is None and bad is not None:
        drop = "bad_gold"
    image = _IMAGE.search(raw.prompt or "") if "image" in settings.rules else None
    return Problem(
        id=problem_id(raw.prompt or ""),
        source=source.name,
        kind=source.kind,
        prompt=raw.prompt or "",
        answer=raw.answer or "",
        solution=raw.solution or "",
        licence=source.licence,
        drop=drop or ("image" if image else None),
        drop_why=bad if drop == "bad_gold" else image.group(0).strip() if image and not drop else None,
        row=raw.id,
        subject=raw.subject,
        level=raw.level,
    )


def _against_others(
    problem: Problem,
    *,
    seen: set[str],
    answers: dict[str, set[str]],
    benchmark: frozenset[str],
    settings: CurateSettings,
) -> Problem:
    if "in_benchmark" in settings.rules and problem.id in benchmark:
        return replace(problem, drop="in_benchmark", drop_why="the same prompt is held out for evaluation")
    if "conflicting_answer" in settings.rules and len(answers[problem.id]) > 1:
        why = "the same prompt comes with: " + " | ".join(sorted(answers[problem.id]))
        return replace(problem, drop="conflicting_answer", drop_why=why)
    if problem.id in seen:
        return replace(problem, drop="duplicate", drop_why="the same prompt came before")
    return problem
