"""The symbolic judge: a process of its own that compares answers with math-verify, and may be killed at any time.

`python -m pipeline.judge MEMORY_MB` reads one JSON line {"gold", "found"} and writes one JSON line {"verdict", "why"}.
It sets no time limit itself: math-verify's own are signals, whole seconds, and count what they stop as wrong.
"""

import re
import resource
import sys
from typing import Any

import orjson

from pipeline.answers import LONGEST_NUMBER, exact_number, normal

_EXACT, _DECIMAL = 1e-12, 1e-6
_BESIDE_A_NUMBER = re.compile(r"_|[<>≤≥≠≈]|\\(?:[lg]e?q?\b|ne\b|neq\b|approx\b|sim\b)")


def main() -> None:
    """Answer lines until standard input ends."""
    limit = int(sys.argv[1]) * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    # A library that prints must not break the protocol.
    out, sys.stdout = sys.stdout.buffer, sys.stderr
    for line in sys.stdin.buffer:
        asked = orjson.loads(line)
        verdict, why = judge(asked["gold"], asked["found"])
        out.write(orjson.dumps({"verdict": verdict, "why": why}) + b"\n")
        out.flush()


def judge(gold: str, found: str) -> tuple[str, str]:
    """Verdict and reason for two written answers; "undecided" whenever one of them can't be read."""
    from math_verify import parse, verify

    if reason := _misread(gold, found):
        return "undecided", reason
    try:
        gold_read, found_read = (
            parse(f"\\boxed{{{text}}}", parsing_timeout=None, raise_on_error=True) for text in (gold, found)
        )
        if not gold_read:
            return "undecided", "the gold answer can't be read"
        if not found_read:
            return "undecided", "the answer can't be read"
        same = verify(gold_read, found_read, timeout_seconds=None, raise_on_error=True)
        close = same and _close(gold_read[0], found_read[0])
    except MemoryError:
        return "undecided", "out of memory"
    except Exception as error:  # noqa: BLE001 hostile text may raise anything from sympy; it is a reason, not a crash
        return "undecided", f"{type(error).__name__}: {error}"[:200]
    if not same:
        return "wrong", "symbolic"
    return ("correct", "symbolic") if close else ("wrong", "values_differ")


def _misread(gold: str, found: str) -> str | None:
    """Why math-verify is not asked: forms that it reads as something simpler than they say."""
    if exact_number(gold) is not None and _BESIDE_A_NUMBER.search(found):
        return "a subscript or a relation stands against a number"
    if exact_number(gold) is not None and len(found) > LONGEST_NUMBER:
        return "the answer is too long for a number"
    if _is_set(gold) != _is_set(found) and (_is_tuple(gold) or _is_tuple(found)):
        return "a set stands against a tuple or an interval"
    return None


def _is_set(text: str) -> bool:
    return normal(text).startswith("\\{")


def _is_tuple(text: str) -> bool:
    return normal(text).startswith(("(", "[")) and "," in text


def _close(gold: Any, found: Any) -> bool:
    """Whether two values that math-verify calls equal really are: it rounds both to six decimals.

    Exact gold allows only rounding noise; a decimal gold allows a relative difference of 1e-6.
    """
    import sympy

    if not all(isinstance(value, sympy.Expr) and value.is_number for value in (gold, found)):
        return True
    difference, size = sympy.N(abs(gold - found), 50), sympy.N(abs(gold), 50)
    tolerance = _DECIMAL if gold.has(sympy.Float) else _EXACT
    return bool(difference <= tolerance * max(size, sympy.N(abs(found), 50)))


if __name__ == "__main__":
    main()
