"""Judge a reply against the gold answer: correct, wrong or undecided, with what was found and why.

Plain numbers and texts are decided exactly, here. What needs algebra goes to judges: processes that are killed and
replaced when they run past their time, so that one hostile reply costs seconds and is `undecided`, not a hang.
"""

import queue
import re
import selectors
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import orjson

from pipeline.answers import choice, exact_number, final_answer, normal, same_text
from pipeline.settings import Settings
from pipeline.verdict import Submission, Verdict

_ROOT = Path(__file__).resolve().parent.parent
_WORDS = re.compile(r"[A-Za-z][A-Za-z '’.,!?-]*")


class VerifySettings(Settings):
    """How replies are judged."""

    operational: ClassVar[frozenset[str]] = frozenset({"judges"})

    timeout_s: float = 10.0
    """Seconds one symbolic comparison may take before its judge is killed and the row is undecided."""
    memory_mb: int = 4096
    """Address space of one judge, MiB."""
    judges: int = 1
    """Judge processes in each verifying actor."""


class Verifier:
    """Judges submissions; close it (or use it in `with`) to end its judges."""

    def __init__(self, settings: VerifySettings) -> None:
        self._settings = settings
        self._threads = ThreadPoolExecutor(settings.judges, thread_name_prefix="judge")
        self._idle: queue.SimpleQueue[_Judge] = queue.SimpleQueue()
        for _ in range(settings.judges):
            self._idle.put(_Judge(settings))

    def __enter__(self) -> "Verifier":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def verify(self, submissions: list[Submission]) -> list[Verdict]:
        """One verdict a submission, in order."""
        return list(self._threads.map(self._verify_one, submissions))

    def close(self) -> None:
        """End all judges."""
        self._threads.shutdown(wait=True)
        for _ in range(self._settings.judges):
            self._idle.get().kill()

    def _verify_one(self, submission: Submission) -> Verdict:
        decided = decide(submission)
        if isinstance(decided, Verdict):
            return decided
        judge = self._idle.get()
        try:
            verdict, why = judge.ask(gold=submission.gold, found=decided)
        finally:
            self._idle.put(judge)
        return Verdict(verdict, decided, why)


def decide(submission: Submission) -> Verdict | str:
    """The verdict, or the found answer when telling needs algebra."""
    if submission.finish_reason == "length":
        return Verdict("wrong", None, "truncated")
    found = final_answer(submission.reply, kind=submission.kind, gold=submission.gold)
    if found is None:
        return Verdict("wrong", None, "no_answer")
    if submission.kind == "choice":
        same = choice(found) is not None and choice(found) == choice(submission.gold)
        return Verdict("correct" if same else "wrong", found, "choice")
    if submission.kind == "text":
        return Verdict("correct" if same_text(found, submission.gold) else "wrong", found, "text")
    return _decide_math(found, submission.gold)


def _decide_math(found: str, gold: str) -> Verdict | str:
    if normal(found) == normal(gold):
        return Verdict("correct", found, "same")
    gold_value, found_value = exact_number(gold), exact_number(found)
    if gold_value is not None and found_value is not None:
        return Verdict("correct" if gold_value == found_value else "wrong", found, "number")
    if gold_value is not None and _WORDS.fullmatch(normal(found)):
        return Verdict("wrong", found, "not_a_number")
    return found


class _Judge:
    def __init__(self, settings: VerifySettings) -> None:
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, *, gold: str, found: str) -> tuple[str, str]:
        process = self._process or self._start()
        assert process.stdin is not None
        try:
            process.stdin.write(orjson.dumps({"gold": gold, "found": found}) + b"\n")
            process.stdin.flush()
            line = self._read_line(process)
        except BrokenPipeError:
            line = b""
        if line is None:
            self.kill()
            return "undecided", f"the judge ran past {self._settings.timeout_s:g} s"
        if not line:
            self.kill()
            return "undecided", "the judge died (out of memory, or crashed)"
        answer = orjson.loads(line)
        return answer["verdict"], answer["why"]

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "pipeline.judge", str(self._settings.memory_mb)]
        self._process = subprocess.Popen(
            command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        # Importing sympy takes seconds on a busy machine and must not count against the first row.
        self._warm(self._process)
        return self._process

    def _warm(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(orjson.dumps({"gold": "x", "found": "y"}) + b"\n")
        process.stdin.flush()
        if not process.stdout.readline():
            raise RuntimeError("the judge process does not start: run python -m pipeline.judge 4096 to see why")

    def _read_line(self, process: subprocess.Popen[bytes]) -> bytes | None:
        assert process.stdout is not None
        with selectors.DefaultSelector() as ready:
            ready.register(process.stdout, selectors.EVENT_READ)
            if not ready.select(self._settings.timeout_s):
                return None
        return process.stdout.readline()
