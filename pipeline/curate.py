"""From raw rows to problems: each rule has a name, and what falls out keeps its row with that name in `drop`."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar, Literal, get_args

from pydantic import model_validator

from pipeline.alike.near import NearSettings
from pipeline.alike.overlap import OverlapSettings
from pipeline.record import KINDS, Problem, problem_id
from pipeline.rules.normalise import normal_answer, normal_prompt
from pipeline.rules.row import ALWAYS, RULES, unfit
from pipeline.rules.settings import RowSettings
from pipeline.source_files import Slice
from pipeline.sources import GymSource, Raw, Source, read

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
    "near_duplicate",
    "beside_benchmark",
]
"""The rules that a recipe may switch. What else drops a row (unreadable, benchmark_paraphrase, too_easy, too_hard,
unmeasured, and trace_in_benchmark for traces) is asked for by its own section."""


DEFAULT_RULES: tuple[Rule, ...] = (
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
    "in_benchmark",
    "benchmark_ngram",
    "benchmark_near",
    "duplicate",
    "conflicting_answer",
    "near_duplicate",
    "beside_benchmark",
)
"""Those that are on unless the recipe says otherwise."""
ALWAYS_ON = ALWAYS | {"duplicate", "in_benchmark"}
"""Those that hold whatever the recipe says."""


class CurateSettings(RowSettings):
    """Which problems are kept."""

    # What it takes out is gone from `rules`.
    operational: ClassVar[frozenset[str]] = frozenset({"without"})

    rules: tuple[Rule, ...] = DEFAULT_RULES
    """The rules that drop a problem. no_prompt, no_answer, bad_gold, duplicate and in_benchmark always hold;
    answer_type and language drop nothing until they are told what is wanted; multiple_answers is not among them, as the
    verifier can judge several answers."""
    without: tuple[Rule, ...] = ()
    """Rules to take out of those that `rules` has by default, such as [image, proof]; a recipe that lists `rules`
    leaves them out there. A resolved recipe has what stays in `rules`, and nothing here."""
    overlap: OverlapSettings = OverlapSettings()
    """What counts as a problem of a benchmark (in_benchmark, benchmark_ngram, benchmark_near)."""
    near: NearSettings = NearSettings()
    """What counts as the same problem in other words (near_duplicate)."""
    normalise: bool = True
    """Whether HTML, unseen characters, "Problem 3.", points and instructions are taken from prompts, and boxes and
    dollar signs from answers. The source's own text stays in raw_prompt and raw_answer where something changed."""

    @model_validator(mode="before")
    @classmethod
    def _take_out(cls, values: Any) -> Any:
        """`without` written out as the `rules` that stay; what is no list of names is left to the field to refuse."""
        names = values.get("without") if isinstance(values, dict) else None
        if not isinstance(names, list | tuple) or not names or any(name not in get_args(Rule) for name in names):
            return values
        can = [rule for rule in DEFAULT_RULES if rule not in ALWAYS_ON]
        for name in names:
            if "rules" in values:
                raise ValueError(
                    f"without={name!r}, but rules lists what holds: leave {name} out there, and drop without"
                )
            if name not in can:
                why = "always holds" if name in ALWAYS_ON else "is off by default"
                raise ValueError(f"without={name!r}, which {why}; it can name {', '.join(can)}")
        stay = tuple(rule for rule in DEFAULT_RULES if rule not in names)
        return {**values, "rules": stay, "without": ()}


BENCHMARK_RULES = CurateSettings(rules=("no_prompt", "no_answer", "bad_gold", "duplicate"), normalise=False)
"""Those of a benchmark: what makes a training problem unusable must not silently shrink it, a generator may repeat
itself, and it is asked as its publisher wrote it."""


def problems_of(source: Source, part: Slice, *, settings: CurateSettings) -> Iterator[Problem]:
    """The problems of one slice in its order, judged by the rules that look at one row."""
    for raw in read(source, part):
        yield _problem(source, raw, settings)


def _problem(source: Source, raw: Raw, settings: CurateSettings) -> Problem:
    if raw.unreadable is not None:
        return replace(_read(source, raw, settings), drop="unreadable", drop_why=raw.unreadable)
    problem = _read(source, raw, settings)
    found = unfit(problem, settings, rules=_rules_for(source, settings))
    return problem if found is None else replace(problem, drop=found[0], drop_why=found[1] or None)


def _rules_for(source: Source, settings: CurateSettings) -> tuple[str, ...]:
    """The rules asked of a source's rows: what a generator makes is worded by its author, not found somewhere."""
    if not isinstance(source, GymSource):
        return settings.rules
    return tuple(rule for rule in settings.rules if rule in RULES and RULES[rule].kinds == KINDS)


def _read(source: Source, raw: Raw, settings: CurateSettings) -> Problem:
    prompt, answer = raw.prompt or "", raw.answer or ""
    if settings.normalise:
        prompt, answer = normal_prompt(prompt, kind=source.kind), normal_answer(answer, kind=source.kind)
    return Problem(
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
