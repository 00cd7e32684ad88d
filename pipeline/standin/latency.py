"""How long the stand-in teacher waits before each answer."""

import math
import random

from pipeline.standin.settings import StandinSettings


def latency(settings: StandinSettings, message: str, seed: int) -> float:
    """Seconds until the first token of the answer to a problem (the user's text) with a seed.

    Lognormal with median latency_s and shape latency_sigma, drawn from the problem and the seed: whoever knows the
    requests can compute what the latencies allow.
    """
    if not settings.latency_s or not settings.latency_sigma:
        return settings.latency_s
    drawn = random.Random(f"latency:{seed}:{message}").gauss(0.0, settings.latency_sigma)
    return settings.latency_s * math.exp(drawn)
