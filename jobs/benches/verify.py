"""Verdicts a second on one core, against math-verify called as its README shows, on the same rows in the same process.

Replies of real models where the file of OpenAI's recorded GSM8K solutions is given or found beside the checkout, else
made ones of the same shape; and the same answers behind thoughts of 30,000 characters.
"""

import json
import random
import time
from collections.abc import Callable
from pathlib import Path

from jobs.benches.result import Result
from pipeline.prompts import split
from pipeline.verdict import Submission
from pipeline.verify import Verifier, VerifySettings

RECORDED = Path(__file__).resolve().parents[3] / "shared" / "data" / "gsm8k_model_solutions.jsonl"
_LONG = 30_000
_LONG_ROWS = 400
_PEER_ROWS = 1000

Row = tuple[str, str, bool]
"""Gold answer, reply, whether it is right."""


def verify() -> list[Result]:
    """Verdicts a second on short replies and on long thoughts; the labels say who judges better."""
    short = _recorded() if RECORDED.is_file() else _made(2000)
    rng = random.Random(1)
    long = [(gold, _with_thought(gold, right, rng), right) for gold, _, right in short[:_LONG_ROWS]]
    return [_measured("verify_short", short, goal=5.0), _measured("verify_long", long, goal=3.0)]


def _measured(name: str, rows: list[Row], *, goal: float) -> Result:
    some = rows[:: max(1, len(rows) // _PEER_ROWS)]
    with Verifier(VerifySettings()) as verifier:
        ours, told = _per_second(lambda: _ours(verifier, rows), len(rows))
    peer, peer_told = _per_second(lambda: [_math_verify(gold, reply) for gold, reply, _ in some], len(some))
    errors = sum(verdict != right for verdict, (*_, right) in zip(told, rows, strict=True))
    peer_errors = sum(verdict != right for verdict, (*_, right) in zip(peer_told, some, strict=True))
    print(f"{name}: {errors} of {len(rows)} verdicts differ from the labels; math-verify {peer_errors} of {len(some)}")
    assert errors / len(rows) <= peer_errors / len(some), "ours judges worse than math-verify"
    return Result(name, ours, peer, "math-verify", "verdicts/s", ours / peer, goal=goal)


def _ours(verifier: Verifier, rows: list[Row]) -> list[bool]:
    taken = [split(reply, truncated=False).reply for _, reply, _ in rows]
    submissions = [Submission("math", gold, reply, "stop") for (gold, *_), reply in zip(rows, taken, strict=True)]
    return [verdict.verdict == "correct" for verdict in verifier.verify(submissions)]


def _math_verify(gold: str, reply: str) -> bool:
    import math_verify

    return bool(math_verify.verify(math_verify.parse(f"\\boxed{{{gold}}}"), math_verify.parse(reply)))


def _per_second(work: Callable[[], list[bool]], rows: int) -> tuple[float, list[bool]]:
    work()
    started = time.perf_counter()
    given = work()
    return rows / (time.perf_counter() - started), given


def _recorded() -> list[Row]:
    rows = []
    for line in RECORDED.open():
        row = json.loads(line)
        gold = row["ground_truth"].rpartition("A: ")[2].strip()
        rows += [(gold, said["solution"], said["is_correct"]) for said in row.values() if isinstance(said, dict)]
    return rows


def _made(number: int) -> list[Row]:
    rng = random.Random(2)
    rows = []
    for n in range(number):
        right = rng.random() < 0.5
        rows.append((str(n), f"First {n} and {n + 7}.\nSo it comes to {n + 14}.\nA: {n if right else n + 1}", right))
    return rows


def _with_thought(gold: str, right: bool, rng: random.Random) -> str:
    """The answer, or a wrong one, behind a thought that tries many."""
    steps: list[str] = []
    while sum(map(len, steps)) < _LONG:
        a, b = rng.randint(2, 99), rng.randint(2, 99)
        steps.append(f"Let me try $x = \\frac{{{a}}}{{{b}}}$, then {a} + {b} = {a + b}. Wait, that is not it.")
    answer = gold if right else f"{gold}1"
    return "<think>\n" + "\n".join(steps) + f"\n</think>\n\nThe answer is \\boxed{{{answer}}}."
