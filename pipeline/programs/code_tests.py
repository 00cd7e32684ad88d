"""Judge a program by the tests of its problem: kind `code`. In: a reply and tests as JSON; out: a verdict.

Right answers stay on this side wherever they can: for tests by input and output, and by calls, the sandbox never sees
them; asserts run in a process that the program can't look into (`code_inside`). What remains possible: a
program that knows the tests by heart; where asserts use further names that only the program defines (a helper that the
test calls, a class), those are the program's own; and a program may change a list, dict or set that a test hands to it.
"""

import json
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.programs.code_gold import Asserts, Call, Pair, Unreadable, read_tests
from pipeline.programs.sandbox import Run, Sandbox, SandboxSettings
from pipeline.verdict import Submission, Verdict

_LONGEST_FOUND = 2000
_HARNESS = Path(__file__).with_name("code_inside.py")
_LANGUAGES = {"python", "py", "python3", ""}
_FENCE = re.compile(r"\s{0,8}(`{3,})([^`]*)")
_DECIMAL = re.compile(r"[-+]?(?:\d+\.\d*|\.\d+|\d+(?=e))(?:e[-+]?\d+)?", re.IGNORECASE | re.ASCII)
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?", re.IGNORECASE | re.ASCII)
_LONGEST_NUMBER, _TOLERANCE = 100, 1e-9
_NO_MODULE = re.compile(r"ModuleNotFoundError: No module named '(\w+)")
_WORD = re.compile(r"\w+")
# What sites that ask for a function alone import for it beforehand.
_IMPORTED = {
    "typing": "Any Callable DefaultDict Deque Dict Generator Iterable Iterator List Optional Sequence Set Tuple Union",
    "collections": "ChainMap Counter OrderedDict defaultdict deque namedtuple",
    "functools": "cache cmp_to_key lru_cache reduce",
    "itertools": "accumulate chain combinations count cycle groupby pairwise permutations product zip_longest",
    "heapq": "heapify heappop heappush heappushpop heapreplace nlargest nsmallest",
    "bisect": "bisect bisect_left bisect_right insort insort_left insort_right",
    "math": "ceil comb factorial floor gcd inf isqrt lcm log log2 pi sqrt",
}
_MODULES = ("bisect", "collections", "functools", "heapq", "itertools", "math", "operator", "random", "re", "string")


def judge_code(submission: Submission, settings: SandboxSettings) -> Verdict:
    """Correct only when every test passes; undecided when the tests can't be read, nothing can be run here, or all
    tests together ran past `total_s` before one failed."""
    if submission.finish_reason == "length":
        return Verdict("wrong", None, "truncated")
    program = program_of(submission.reply)
    if program is None:
        return Verdict("wrong", None, "no_answer")
    found = program[:_LONGEST_FOUND]
    try:
        tests = read_tests(submission.gold)
    except Unreadable as error:
        return Verdict("undecided", found, f"the gold tests can't be read: {error}")
    with Sandbox(settings) as sandbox:
        runs = _Runs(sandbox, settings.total_s)
        judged = (
            _judge_asserts(runs, program, tests) if isinstance(tests, Asserts) else _judge_each(runs, program, tests)
        )
    verdict, why = judged
    return Verdict(verdict, found, why)


def program_of(reply: str) -> str | None:
    """The last complete fenced block marked as Python, else the last unmarked one, else all of a reply without fences.

    A fence that never closes is no answer, whatever stands before it.
    """
    marked = unmarked = fence = None
    language, block = "", list[str]()
    for line in reply.splitlines():
        mark = _FENCE.fullmatch(line.rstrip())
        if fence is None:
            if mark:
                fence, language, block = mark[1], _language(mark[2]), []
        elif mark and not mark[2] and len(mark[1]) >= len(fence):
            fence = None
            if language == "":
                unmarked = "\n".join(block)
            elif language in _LANGUAGES:
                marked = "\n".join(block)
        else:
            block.append(line)
    if fence is not None:
        return None
    if "```" in reply:
        return marked or unmarked or None
    # Whether it is a program at all is for the sandbox to find: even reading foreign code can end a process.
    return reply.strip() or None


def same_output(found: str, expected: str) -> bool:
    """Equal line by line and token by token; where a decimal is expected, within 1e-9 of it (relative)."""
    found_lines, expected_lines = (text.rstrip().split("\n") for text in (found, expected))
    return len(found_lines) == len(expected_lines) and all(
        _same_line(found_line.split(), expected_line.split())
        for found_line, expected_line in zip(found_lines, expected_lines, strict=True)
    )


def same_value(found: Any, expected: Any) -> bool:
    """Equal as Python says, lists and dicts looked through, where a float is expected within 1e-9 of it (relative)."""
    if isinstance(expected, list):
        return (
            isinstance(found, list)
            and len(found) == len(expected)
            and all(same_value(a, b) for a, b in zip(found, expected, strict=True))
        )
    if isinstance(expected, dict):
        return (
            isinstance(found, dict)
            and found.keys() == expected.keys()
            and all(same_value(found[key], value) for key, value in expected.items())
        )
    if isinstance(expected, float) and isinstance(found, int | float):
        return _close(found, expected)
    return bool(found == expected)


class _Runs:
    """The runs of one reply's program, which have `total_s` seconds by the clock together."""

    def __init__(self, sandbox: Sandbox, total_s: float) -> None:
        self._sandbox, self._total_s, self._until = sandbox, total_s, time.monotonic() + total_s

    def run(self, program: str, *, stdin: str) -> Run:
        """One run, in what is left of the time."""
        return self._sandbox.run(program, stdin=stdin, within_s=self._until - time.monotonic())

    def undecided(self, run: Run, number: int) -> str | None:
        """Why the run of a test says nothing about its program; None when it does."""
        if run.reason == "no_sandbox":
            return run.stderr[:300]
        if run.reason == "time" and time.monotonic() >= self._until:
            return f"test {number}: all tests together ran past {self._total_s:g} s"
        return None


def _judge_each(runs: _Runs, program: str, tests: Sequence[Pair | Call]) -> tuple[str, str]:
    for number, test in enumerate(tests, start=1):
        if isinstance(test, Pair):
            run = runs.run(program, stdin=test.stdin)
            why = _stopped(run) or (None if same_output(run.stdout, test.stdout) else "wrong output")
        else:
            run = _run_harness(runs, program, call=test.name, arguments=test.arguments)
            why = _stopped(run) or _wrong_value(run.result, test)
        if doubt := runs.undecided(run, number):
            return "undecided", doubt
        if why is not None:
            return _failed(number, why)
    return "correct", f"all {len(tests)} tests"


def _judge_asserts(runs: _Runs, program: str, tests: Asserts) -> tuple[str, str]:
    names = [*tests.names, *(name for name in tests.shadowed if re.search(rf"(?m)^def {name}\b", program))]
    run = _run_harness(runs, program, before=tests.before, tests=tests.numbered(), names=names)
    # Before each assert its number is written; what came last was reached.
    *before, last = run.result.split("\n")
    reached = max((int(line) for line in before if line.isascii() and line.isdigit()), default=1)
    if doubt := runs.undecided(run, reached):
        return "undecided", doubt
    told = _json(last)
    if run.reason != "ok" or not isinstance(told, dict):
        return _failed(reached, _stopped(run) or "no result")
    if "undecided" in told:
        return "undecided", told["undecided"]
    if told.get("passed"):
        return "correct", f"all {told['passed']} tests"
    if "passed" in told:
        return "undecided", "the gold tests can't be read: no assert was reached"
    return _failed(told["test"], told["why"])


def _run_harness(runs: _Runs, program: str, *, before: str = "", **asked: Any) -> Run:
    texts = {"before": _imports(program) + before, "program": program}
    return runs.run(_HARNESS.read_text(), stdin=json.dumps(texts | asked))


def _failed(number: int, why: str) -> tuple[str, str]:
    missing = _NO_MODULE.search(why)
    if missing and missing[1] not in sys.stdlib_module_names:
        return "undecided", f"test {number}: the program needs {missing[1]}, which the sandbox does not have"
    return "wrong", f"test {number}: {why}"


def _stopped(run: Run) -> str | None:
    """Why a run did not come to its own good end; None when it did."""
    if run.reason == "exit":
        return f"exit {run.exit_code}: {run.stderr.rstrip().rpartition(chr(10))[2]}"[:300].rstrip(": ")
    return None if run.reason == "ok" else run.reason


def _wrong_value(result: str, test: Call) -> str | None:
    told = _json(result)
    if not isinstance(told, dict):
        return "no result"
    if "why" in told:
        return str(told["why"])
    try:
        right = any(same_value(told.get("value"), expected) for expected in test.expected)
    except RecursionError:
        right = False
    return None if right else "wrong output"


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _language(info: str) -> str:
    return next(iter(info.strip().lower().split()), "")


def _imports(program: str) -> str:
    words = set(_WORD.findall(program))
    lines = [f"import {module}\n" for module in _MODULES if module in words]
    for module, names in _IMPORTED.items():
        if used := sorted(words.intersection(names.split())):
            lines.append(f"from {module} import {', '.join(used)}\n")
    return "".join(lines)


def _same_line(found: list[str], expected: list[str]) -> bool:
    return len(found) == len(expected) and all(_same_token(a, b) for a, b in zip(found, expected, strict=True))


def _same_token(found: str, expected: str) -> bool:
    if found == expected:
        return True
    if max(len(found), len(expected)) > _LONGEST_NUMBER or not _DECIMAL.fullmatch(expected):
        return False
    return _NUMBER.fullmatch(found) is not None and _close(float(found), float(expected))


def _close(found: float, expected: float) -> bool:
    try:
        return found == expected or abs(found - expected) <= _TOLERANCE * abs(expected) < float("inf")
    except OverflowError:
        return False
