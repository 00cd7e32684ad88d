"""Verdicts/s on short math replies against math-verify called directly."""

import random
import time
from collections.abc import Callable

from jobs.benches.result import Result
from pipeline.verdict import Submission
from pipeline.verify import Verifier, VerifySettings


def verify() -> Result:
    """Verdicts a second on replies whose answer is a number, as most are."""
    rng = random.Random(1)
    replies = [(str(n), f"So it comes to \\boxed{{{n + rng.choice((0, 1))}}}.") for n in range(2000)]
    with Verifier(VerifySettings()) as verifier:
        submissions = [Submission("math", gold, reply, "stop") for gold, reply in replies]
        ours = _per_second(lambda: [v.verdict == "correct" for v in verifier.verify(submissions)], len(replies))
    peer = _per_second(lambda: [_math_verify(gold, reply) for gold, reply in replies], len(replies))
    assert ours[1] == peer[1], "ours and math-verify disagree on plain integers"
    return Result("verify", ours[0], peer[0], "math-verify", "verdicts/s", ours[0] / peer[0], goal=2.0)


def _math_verify(gold: str, reply: str) -> bool:
    import math_verify

    return bool(math_verify.verify(math_verify.parse(f"\\boxed{{{gold}}}"), math_verify.parse(reply)))


def _per_second(work: Callable[[], list[bool]], rows: int) -> tuple[float, list[bool]]:
    work()
    started = time.perf_counter()
    given = work()
    return rows / (time.perf_counter() - started), given
