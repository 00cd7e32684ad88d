"""An LLM as the judge: of answers that no rule can compare, and beside the symbolic verdict to see whether they agree.

A verdict is the majority of several draws. The reply under judgement is foreign text that may try to give orders: it is
quoted line by line, every line behind a mark, so that nothing in it can end the quotation.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from pipeline.generate import Generation, Sampling
from pipeline.ledger import Entry, canonical
from pipeline.prompts import MARK
from pipeline.record import Trace
from pipeline.settings import Settings

NAME = "judge"
"""What the judge's calls are called in the ledger."""
_PROBLEM_CHARS, _ANSWER_CHARS = 20_000, 4_000
_REPLY_HEAD, _REPLY_TAIL = 2_000, 10_000
LONGEST_QUESTION = _REPLY_HEAD + _REPLY_TAIL
"""About the most tokens that a judge's prompt has beside the problem: a token is at least a character of the reply."""
_LAST_LINE_CHARS = 80
_VERDICT = re.compile(r"[*_`]*verdict[*_`]*:[*_` ]*(correct|wrong|unsure)[*_`.]*", re.IGNORECASE)
_SAID = {"correct": "correct", "wrong": "wrong", "unsure": "undecided"}
_DECIDED = ("correct", "wrong")
_BY_JUDGE, _AFTER = "judge: ", "judge after: "


class JudgeSettings(Settings):
    """Who judges what no rule can, and how often it is asked."""

    operational: ClassVar[frozenset[str]] = frozenset()

    engine: str = "teacher"
    """Who is asked: teacher, or a name of evaluate.teachers; best one that made none of the answers."""
    prompt: str = "judge"
    """The prompt's name: judge, or one of the recipe's own over {prompt}, {answer} and {reply}."""
    sampling: Sampling = Sampling(temperature=0.6, max_tokens=2048)
    """How it draws."""
    draws: int = Field(default=1, gt=0)
    """Judgements of each answer, an odd number; more than half decide, else it is undecided."""
    asks: Literal["judge_kind", "undecided", "all"] = "judge_kind"
    """Whose answers it is asked about: of problems of kind judge; also those that the verifier left undecided, which it
    then decides; or all, which changes no verdict of the verifier and says how often the two agree."""

    @field_validator("draws")
    @classmethod
    def _odd(cls, draws: int) -> int:
        if draws % 2 == 0:
            raise ValueError("must be odd, or half could stand against half")
        return draws

    @property
    def generation(self) -> Generation:
        """Its calls as a generation: who is asked, with which prompt, how often."""
        return Generation(name=NAME, engine="teacher", prompt=self.prompt, draws=self.draws, sampling=self.sampling)


def without_judge(trace: Trace) -> Trace:
    """A trace of kind judge before its judge has spoken: what is plain without one is decided."""
    if trace.finish_reason == "length":
        return replace(trace, verdict="wrong", why="truncated")
    if not trace.reply.strip():
        return replace(trace, verdict="wrong", why="no_answer")
    return replace(trace, verdict="undecided", why="no judge was asked")


def is_asked(trace: Trace, asks: str) -> bool:
    """Whether a verified trace is put before the judge."""
    if trace.drop is not None or trace.finish_reason == "length" or not trace.reply.strip():
        return False
    return asks == "all" or trace.kind == "judge" or (asks == "undecided" and trace.verdict == "undecided")


def question(trace: Trace, template: str) -> str:
    """The messages that ask the judge, as JSON: problem, known answer and reply (without its thought), each quoted and
    cut to a bound. Equal replies to one problem are one question."""
    text = template.format(
        prompt=quoted(trace.prompt, head=_PROBLEM_CHARS),
        answer=quoted(trace.answer, head=_ANSWER_CHARS),
        reply=quoted(trace.reply, head=_REPLY_HEAD, tail=_REPLY_TAIL),
    )
    return canonical([{"role": "user", "content": text}])


def quoted(text: str, *, head: int, tail: int = 0) -> str:
    """The text with a mark before every line; a longer one than head + tail characters loses its middle.

    Whatever some reader takes for the end of a line is one here, and other control characters go, so no line of the
    text can stand without its mark.
    """
    text = text.strip()
    if len(text) <= head + tail:
        return _marked(text)
    parts = [_marked(text[:head]), f"({len(text) - head - tail:,} characters left out)"]
    return "\n".join([*parts, _marked(text[-tail:])] if tail else parts)


def read_verdict(entry: Entry) -> str:
    """correct, wrong or undecided: strictly what the last line of a whole answer says, "Verdict: correct"."""
    if entry.outcome != "answered" or entry.finish_reason == "length":
        return "undecided"
    last = entry.reply.rstrip().rpartition("\n")[2].strip()
    found = _VERDICT.fullmatch(last) if len(last) <= _LAST_LINE_CHARS else None
    return _SAID[found[1].lower()] if found else "undecided"


def majority(verdicts: Sequence[str]) -> tuple[str, int]:
    """The verdict that more than half of the draws gave, else undecided, and how many gave it."""
    counts = Counter(verdicts)
    for verdict in _DECIDED:
        if 2 * counts[verdict] > len(verdicts):
            return verdict, counts[verdict]
    return "undecided", counts["undecided"]


def judged(trace: Trace, entries: Sequence[Entry], *, asks: str) -> Trace:
    """A verified trace with what the judge made of it, its bill aside."""
    verdict, agreed = majority([read_verdict(entry) for entry in entries])
    trace = replace(trace, judged=verdict)
    if trace.kind == "judge":
        return replace(trace, verdict=verdict, why=f"{_BY_JUDGE}{agreed} of {len(entries)}")
    if asks == "undecided" and trace.verdict == "undecided":
        return replace(trace, verdict=verdict, why=f"{_AFTER}{trace.why}")
    return trace


def compared(trace: Trace) -> tuple[str, str] | None:
    """The verifier's verdict and the judge's, where each came to one without the other."""
    why = trace.why or ""
    if trace.verdict not in _DECIDED or trace.judged not in _DECIDED or why.startswith((_BY_JUDGE, _AFTER)):
        return None
    return str(trace.verdict), str(trace.judged)


def agreement(pairs: Mapping[tuple[str, str], int]) -> dict[str, float | int | None]:
    """How often verifier and judge agree, over counts of (verifier's verdict, judge's verdict).

    `kappa` is Cohen's (1960): (p - e) / (1 - e) for the share p they agree on and the share e they would agree on by
    chance; None where one verdict is all there is.
    """
    total = sum(pairs.values())
    agree = sum(count for (mine, other), count in pairs.items() if mine == other)
    chance = 0.0
    for verdict in _DECIDED:
        mine = sum(count for (one, _), count in pairs.items() if one == verdict)
        other = sum(count for (_, one), count in pairs.items() if one == verdict)
        chance += mine * other / total**2 if total else 0.0
    kappa = (agree / total - chance) / (1 - chance) if total and chance < 1 else None
    return {"agree": agree, "disagree": total - agree, "kappa": kappa}


def _marked(text: str) -> str:
    return "\n".join(f"{MARK}{''.join(map(_shown, line))}" for line in text.splitlines()) or MARK


def _shown(letter: str) -> str:
    if letter.isprintable():
        return letter
    return " " if letter.isspace() else ""
