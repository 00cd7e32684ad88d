"""Ask one trace whether it is fit to be trained on. In: a trace and its length; out: the first rule it breaks, and why.

The rules that look at lengths and ends come first, then those that search a text for words, then those that compare a
text with itself. Nothing here looks at a verdict or at another trace.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pipeline.record import Trace
from pipeline.thoughts import ending, form, tongues
from pipeline.thoughts.case import Case, Text
from pipeline.thoughts.loops import loop
from pipeline.thoughts.markers import markers, too_few
from pipeline.thoughts.repeats import repeated_share, repetition
from pipeline.thoughts.settings import Rule, ThoughtSettings

REPEATED_WORDS = 20
"""Words in a row that a figure counts as repeated, whatever a recipe's rule asks: figures of two runs compare."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What a trace measures, for the card. `markers` counts by kind; `repeated_share` is of the words, 0 to 1."""

    tokens: int
    markers: dict[str, int]
    repeated_share: float


def unfit(trace: Trace, settings: ThoughtSettings, *, tokens: int) -> tuple[str, str] | None:
    """The first rule that a trace breaks and what was found, or None; `tokens` of the student, thought and reply."""
    case = Case(trace, settings, tokens)
    for rule, why in RULES.items():
        if rule not in settings.skip and (found := why(case)) is not None:
            return rule, found
    return None


def figures(trace: Trace, *, tokens: int) -> Figures:
    """What the card plots of a trace; of its thought, or of its reply where there is none."""
    thinking = Case(trace, ThoughtSettings(), tokens).thinking
    return Figures(tokens, markers(thinking.lower), repeated_share(thinking.words, length=REPEATED_WORDS))


def _no_thought(case: Case) -> str | None:
    missing = case.settings.thought == "needed" and not case.rewritten and not case.trace.thought.strip()
    return "there is none" if missing else None


def _empty_reply(case: Case) -> str | None:
    return None if case.trace.reply.strip() else "there is none"


def _too_short(case: Case) -> str | None:
    least = case.settings.min_tokens
    return f"{case.tokens} tokens, at least {least} wanted" if case.tokens < least else None


def _too_long(case: Case) -> str | None:
    most = case.settings.max_tokens
    return f"{case.tokens} tokens, at most {most} wanted" if most is not None and case.tokens > most else None


def _not_longer(case: Case) -> str | None:
    reply, solution = len(case.trace.reply.strip()), len(case.trace.solution.strip())
    if not case.rewritten or reply > solution:
        return None
    return f"{reply} characters, the solution has {solution}"


def _cut_off(case: Case) -> str | None:
    if found := ending.cut_off(case.trace.reply):
        return f"reply: {found}"
    found = None if case.forced else ending.cut_off(case.trace.thought)
    return f"thought: {found}" if found else None


def _no_box(case: Case) -> str | None:
    return form.no_box(case.trace.reply) if case.settings.box == "needed" else None


def _language_switch(case: Case) -> str | None:
    settings = case.settings
    return _first(
        tongues.language_switch(
            text.words,
            prompt=case.trace.prompt,
            share=settings.foreign_share,
            pieces_share=settings.foreign_pieces_share,
        )
        for text in case.texts
    )


def _other_language(case: Case) -> str | None:
    if case.settings.language == "any":
        return None
    return _first(tongues.other_language(text.written, prompt=case.trace.prompt) for text in case.texts)


def _not_a_thought(case: Case) -> str | None:
    least, least_per_1000 = case.settings.min_markers, case.settings.min_markers_per_1000
    if case.rewritten or not (least or least_per_1000):
        return None
    return too_few(markers(case.thinking.lower), tokens=case.tokens, least=least, least_per_1000=least_per_1000)


def _loop(case: Case) -> str | None:
    settings = case.settings
    return _in_texts(case, lambda text: loop(text.words, copies=settings.loop_copies, counted=settings.counted_copies))


def _repetition(case: Case) -> str | None:
    length, share = case.settings.repeated_words, case.settings.repeated_share
    return _in_texts(case, lambda text: repetition(text.words, length=length, share=share))


def _in_texts(case: Case, why: Callable[[Text], str | None]) -> str | None:
    return _first(why(text) for text in case.texts)


def _first(whys: Iterator[str | None]) -> str | None:
    return next((why for why in whys if why is not None), None)


RULES: dict[Rule, Callable[[Case], str | None]] = {
    "no_thought": _no_thought,
    "empty_reply": _empty_reply,
    "too_short": _too_short,
    "too_long": _too_long,
    "not_longer": _not_longer,
    "cut_off": _cut_off,
    "leftover_tags": lambda case: _in_texts(case, lambda text: form.leftover_tags(text.written)),
    "role_markers": lambda case: _in_texts(case, lambda text: form.role_markers(text.written)),
    "no_box": _no_box,
    "boxes_differ": lambda case: form.boxes_differ(case.trace.reply),
    "declined": lambda case: _in_texts(case, lambda text: form.declined(text.lower)),
    "leaked_answer": lambda case: _in_texts(
        case, lambda text: form.leaked_answer(text.lower, prompt=case.trace.prompt.lower())
    ),
    "language_switch": _language_switch,
    "other_language": _other_language,
    "not_a_thought": _not_a_thought,
    "loop": _loop,
    "repetition": _repetition,
}
"""Rule -> what it finds in a case, in the order in which they are asked."""
