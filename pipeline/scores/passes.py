"""pass@k: the chance that at least one of k draws is right, from n draws that were judged."""

import math
from collections.abc import Iterable, Mapping

from pipeline.errors import Stop


def ladder(draws: int) -> tuple[int, ...]:
    """The k that are worth a line for so many draws: the powers of two below them, and all of them."""
    powers = (2**step for step in range(max(0, draws).bit_length()))
    return tuple(k for k in powers if k < draws) + ((draws,) if draws > 0 else ())


def pass_at(k: int, *, right: int, judged: int) -> float:
    """The unbiased estimate 1 - C(n - c, k) / C(n, k) (Chen et al., 2107.03374, equation 1). Needs 1 <= k <= judged."""
    assert 1 <= k <= judged, f"{k=} {judged=}"
    return 1 - math.comb(judged - right, k) / math.comb(judged, k)


def enough(draws: Mapping[str, int], ks: Iterable[int], *, name: str) -> None:
    """Raise Stop unless every problem (id -> its draws) of what is called `name` has draws for every k."""
    for k in ks:
        if k < 1:
            raise Stop(f"pass@{k} means nothing: k must be 1 or more")
        for problem, there in draws.items():
            if there < k:
                raise Stop(f"pass@{k} needs {k} draws a problem; {name} has problem {problem:.40} with {there}")
