"""From raw rows to problems: each rule has a name, and what falls out keeps its row with that name in `drop`."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Literal

from pipeline.record import Problem, problem_id
from pipeline.rules.normalise import normal_answer, normal_prompt
from pipeline.rules.row import unfit
from pipeline.rules.settings import RowSettings
from pipeline.source_files import Slice
from pipeline.sources import Raw, Source, read
from pipeline.written import exact_number, normal

Rule = Literal[
    "no_prompt",
    "no_answer",
    "too_long",
    "too_short",
    "image",
    "broken_latex",
    "given_away",
    "proof",
    "open_ended",
    "multi_part",
    "multiple_answers",
    "answer_type",
    "language",
    "bad_gold",
    "duplicate",
    "conflicting_answer",
    "in_benchmark",
    "benchmark_ngram",
    "benchmark_near",
    "benchmark_paraphrase",
    "trace_in_benchmark",
    "near_duplicate",
    "beside_benchmark",
    "too_easy",
    "too_hard",
]
"""What a problem, or a trace, may be dropped for."""


class CurateSettings(RowSettings):
    """Which problems are kept."""

    rules: tuple[Rule, ...] = (
        "no_prompt",
        "no_answer",
        "too_long",
        "too_short",
        "image",
        "broken_latex",
        "given_away",
        "proof",
        "open_ended",
        "multi_part",
        "answer_type",
        "language",
        "bad_gold",
        "duplicate",
        "conflicting_answer",
        "in_benchmark",
    )
    """The rules that drop a problem. no_prompt, no_answer, bad_gold and duplicate always hold; answer_type and language
    drop nothing until they are told what is wanted; multiple_answers is not among them, as the verifier can judge
    several answers."""
    normalise: bool = True
    """Whether HTML, unseen characters, "Problem 3.", points and instructions are taken from prompts, and boxes and
    dollar signs from answers. The source's own text stays in raw_prompt and raw_answer where something changed."""


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
    prompt, answer = raw.prompt or "", raw.answer or ""
    if settings.normalise:
        prompt, answer = normal_prompt(prompt, kind=source.kind), normal_answer(answer, kind=source.kind)
    problem = Problem(
        id=problem_id(prompt),
        source=source.name,
        kind=source.kind,
        prompt=prompt,
        answer=answer,
        solution=raw.solution or "",
        licence=source.licence,
        drop=None,
        drop_why=None,
        row=raw.id,
        subject=raw.subject,
        level=raw.level,
        raw_prompt=raw.prompt if prompt != (raw.prompt or "") else None,
        raw_answer=raw.answer if answer != (raw.answer or "") else None,
    )
    found = unfit(problem, settings, rules=settings.rules)
    return problem if found is None else replace(problem, drop=found[0], drop_why=found[1] or None)


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
