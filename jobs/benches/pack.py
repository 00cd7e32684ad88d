"""Padding left by best-fit packing against first-come packing of the same lengths."""

import random

from jobs.benches.result import Result
from pipeline.pack import best_fit


def pack() -> Result:
    """Positions lost to padding, for 20,000 thoughts of lognormal length in windows of 32,768 tokens."""
    rng = random.Random(1)
    window = 32768
    lengths = [min(window, max(50, round(rng.lognormvariate(8.5, 0.9)))) for _ in range(20_000)]
    ours = 1 - sum(lengths) / (len(best_fit(lengths, window=window)) * window)
    peer = 1 - sum(lengths) / (_first_come(lengths, window) * window)
    return Result("pack", ours, peer, "first-come packing", "share of padding", peer / max(ours, 1e-9), goal=5.0)


def _first_come(lengths: list[int], window: int) -> int:
    windows, used = 1, 0
    for length in lengths:
        if used + length > window:
            windows, used = windows + 1, 0
        used += length
    return windows
