"""Judge a reply against the gold answer: correct, wrong or undecided, with what was found and why.

Plain numbers, letters and texts are decided exactly, here. What needs reading or algebra goes to judges: processes that
are killed and replaced when they run past their limits, so that one hostile reply costs seconds and is `undecided`.
"""

import queue
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar, TypeVar

from pipeline.answers import LONGEST, Unclear, final_answers
from pipeline.judges import Judge
from pipeline.programs.code_tests import judge_code
from pipeline.programs.sandbox import SandboxSettings
from pipeline.record import KINDS
from pipeline.settings import Settings
from pipeline.verdict import Submission, Verdict
from pipeline.written import choice, choices, exact_number, folded, normal, same_text

_BOXED = re.compile(r"\$*\\boxed\s*\{((?:[^{}]|\{[^{}]*\})*)\}\$*")
# A letter in words or brackets is a choice, also among problems of kind math: \text{(C)}.
_LETTER = re.compile(r"\\text(?:bf)?\s*\{\s*\(?[A-J]\)?\s*\}|\([A-J]\)")
_UNJUDGED = {"judge": "only a model can judge it"}
_Given = TypeVar("_Given")


class VerifySettings(Settings):
    """How replies are judged."""

    operational: ClassVar[frozenset[str]] = frozenset({"judges"})

    timeout_s: float = 4.0
    """Seconds of CPU time that one comparison may take before its judge is killed and the row is undecided."""
    memory_mb: int = 4096
    """Address space of one judge, MiB."""
    judges: int = 1
    """Judge processes in each verifying actor."""
    sandbox: SandboxSettings = SandboxSettings()
    """What a program in a reply may use while its tests run."""


class Verifier:
    """Judges submissions; close it (or use it in `with`) to end its judges."""

    def __init__(self, settings: VerifySettings) -> None:
        self._settings = settings
        self._threads = ThreadPoolExecutor(settings.judges, thread_name_prefix="judge")
        self._idle: queue.SimpleQueue[Judge] = queue.SimpleQueue()
        for _ in range(settings.judges):
            self._idle.put(Judge(cpu_s=settings.timeout_s, memory_mb=settings.memory_mb))

    def __enter__(self) -> "Verifier":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def verify(self, submissions: Sequence[Submission]) -> list[Verdict]:
        """One verdict a submission, in order."""
        decided = [decide(submission) for submission in submissions]
        open_ones = [place for place, verdict in enumerate(decided) if not isinstance(verdict, Verdict)]

        def judged(place: int) -> Verdict:
            found = decided[place]
            assert not isinstance(found, Verdict)
            return self._judged(submissions[place], found)

        verdicts = dict(zip(open_ones, self._threads.map(judged, open_ones), strict=True))
        return [v if isinstance(v, Verdict) else verdicts[place] for place, v in enumerate(decided)]

    def all_votes(self, asked: Sequence[tuple[str, Sequence[str | None]]]) -> list[list[int | None]]:
        """The votes on several problems, each with its kind, as many at a time as there are judges."""
        return list(self._threads.map(lambda one: self.votes(*one), asked))

    def votes(self, kind: str, found: Sequence[str | None]) -> list[int | None]:
        """The class of equal answers that each draw's answer is in, blind to the gold answer; None without one."""
        if kind in ("code", "judge"):
            # Two programs are never the same answer in this sense; what a model judges has no answer taken out.
            return [None] * len(found)
        texts = [text for text in found if text is not None]
        exact = [_same_key(kind, text) for text in texts]
        distinct = list(dict.fromkeys(exact))
        firsts = [texts[exact.index(key)] for key in distinct]
        classes = list(range(len(distinct)))
        if kind == "math" and len(firsts) > 1:
            sent = [_sendable(text) for text in firsts]
            told = self._asked(lambda judge: judge.ask({"ask": "votes", "answers": sent})).get("votes")
            if told is None:
                # Which are equal is not known then, and votes that are made up would elect somebody.
                return [None] * len(found)
            classes = told
        of = dict(zip(distinct, classes, strict=True))
        numbers = iter(exact)
        return [None if text is None else of[next(numbers)] for text in found]

    def close(self) -> None:
        """End all judges."""
        self._threads.shutdown(wait=True)
        for _ in range(self._settings.judges):
            self._idle.get().kill()

    def _judged(self, submission: Submission, found: list[str]) -> Verdict:
        if submission.kind == "code":
            return judge_code(submission, self._settings.sandbox)
        if submission.kind == "gym":
            question = {"ask": "gym", "gold": _sendable(submission.gold), "found": _sendable(found[-1])}
            told = self._asked(lambda judge: judge.ask(question))
            return Verdict(str(told["verdict"]), found[-1], str(told["why"]))
        return self._compared(_bare(submission.gold), found)

    def _compared(self, gold: str, found: list[str]) -> Verdict:
        """The verdict on each answer that a reply ends on, as one."""
        verdicts = []
        for answer in found:
            verdict = quick(answer, gold)
            if verdict is None:
                question = {"ask": "same", "gold": _sendable(gold), "found": _sendable(answer)}
                told = self._asked(lambda judge, q=question: judge.ask(q))  # type: ignore[misc]
                verdict = Verdict(str(told["verdict"]), answer, str(told["why"]))
            verdicts.append(verdict)
        if len(verdicts) == 1:
            return verdicts[0]
        shown = " | ".join(found)
        if any(verdict.verdict == "wrong" for verdict in verdicts):
            return Verdict("wrong", shown, "two different final answers")
        doubts = [verdict for verdict in verdicts if verdict.verdict == "undecided"]
        return Verdict("undecided", shown, doubts[0].why) if doubts else Verdict("correct", shown, verdicts[-1].why)

    def _asked(self, ask: Callable[[Judge], _Given]) -> _Given:
        judge = self._idle.get()
        try:
            return ask(judge)
        finally:
            self._idle.put(judge)


def decide(submission: Submission) -> Verdict | list[str]:
    """The verdict, or the found answers when telling needs a judge (none yet, for a program)."""
    if submission.finish_reason == "length":
        return Verdict("wrong", None, "truncated")
    if not submission.gold.strip():
        return Verdict("undecided", None, "no gold answer")
    if submission.kind == "code":
        return []
    if submission.kind == "judge" or submission.kind not in KINDS:
        return Verdict("undecided", None, _UNJUDGED.get(submission.kind, f"unknown kind {submission.kind!r:.40}"))
    gold = _bare(submission.gold)
    try:
        found = final_answers(submission.reply, kind=submission.kind, gold=gold)
    except Unclear as doubt:
        return Verdict("undecided", None, str(doubt))
    if any(len(answer) > LONGEST for answer in found):
        return Verdict("undecided", found[-1][:LONGEST], f"an answer of more than {LONGEST:,} characters")
    if not found:
        return Verdict("wrong", None, "no_answer")
    if submission.kind == "choice":
        return _choice(found, gold)
    if submission.kind == "text":
        return Verdict("correct" if same_text(found[-1], gold) else "wrong", found[-1], "text")
    if len(found) == 1 and (verdict := quick(found[0], gold)):
        return verdict
    return found


def _bare(gold: str) -> str:
    """A gold answer without the box that some data sets keep around it."""
    boxed = _BOXED.fullmatch(gold.strip())
    return boxed[1] if boxed else gold


def quick(found: str, gold: str) -> Verdict | None:
    """The verdict where it takes no reading: the same text, or two exact numbers and gold no decimal."""
    if normal(found) == normal(gold):
        return Verdict("correct", found, "same")
    if _LETTER.fullmatch(gold) and choice(found) is not None:
        return Verdict("correct" if choice(found) == choice(gold) else "wrong", found, "choice")
    gold_value, found_value = exact_number(gold), exact_number(found)
    if gold_value is None or found_value is None:
        return None
    if gold_value == found_value and ("%" in gold) == ("%" in found):
        return Verdict("correct", found, "number")
    if "." in gold or "%" in gold + found or "circ" in gold + found:
        return None
    return Verdict("wrong", found, "number")


def _choice(found: list[str], gold: str) -> Verdict:
    letters = {choice(answer) for answer in found}
    shown = " | ".join(found)
    if several := choices(gold):
        return Verdict("correct" if choices(shown) == several else "wrong", shown, "choices")
    if len(letters) > 1:
        return Verdict("wrong", shown, "two different final answers")
    (letter,) = letters
    if letter is None:
        # "Paris" where gold is "B. Paris" names the choice by what it says.
        _, _, said = normal(gold).partition(" ")
        return Verdict("correct" if said and same_text(shown, said) else "wrong", shown, "choice")
    return Verdict("correct" if letter == choice(gold) else "wrong", shown, "choice")


def _same_key(kind: str, text: str) -> str:
    if kind == "choice":
        return choice(text) or normal(text).casefold()
    if kind != "math":
        return folded(text)
    number = exact_number(text)
    return normal(text) if number is None else str(number)


def _sendable(text: str) -> str:
    """Without lone surrogates, which no encoding carries."""
    return text.encode("utf-8", "replace").decode()
