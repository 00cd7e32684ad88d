"""Rate limits as an API keeps them: token buckets with one second's worth at once, and the headers about them."""

import math
from dataclasses import dataclass, field

from pipeline.standin.settings import StandinSettings

_SLACK_S = 1e-9
"""A wait below this is rounding: who waited as long as told must pass."""


@dataclass
class Bucket:
    """Fills at `per_minute`/60 a second up to one second's worth, at least `least`."""

    per_minute: float
    least: float
    _level: float = field(init=False)
    _at: float = -math.inf

    def __post_init__(self) -> None:
        self.rate = self.per_minute / 60
        self.burst = max(self.least, self.rate)
        self._level = self.burst

    def wait(self, amount: float, now: float) -> float:
        """Seconds until so much would pass; more than the burst passes as soon as the bucket is full."""
        wait = (min(amount, self.burst) - self.level(now)) / self.rate
        return wait if wait > _SLACK_S else 0.0

    def take(self, amount: float, now: float) -> None:
        """Take so much out; below nothing the bucket is in debt."""
        self._level = self.level(now) - amount

    def level(self, now: float) -> float:
        """What is in the bucket at a time in seconds; times never go back."""
        if now > self._at:
            self._level = min(self.burst, self._level + (now - self._at) * self.rate)
            self._at = now
        return self._level


class Limits:
    """The limits of an API in requests and tokens a minute."""

    def __init__(self, settings: StandinSettings) -> None:
        self._buckets: dict[str, Bucket] = {}
        if settings.requests_per_minute is not None:
            self._buckets["requests"] = Bucket(settings.requests_per_minute, least=1.0)
        if settings.tokens_per_minute is not None:
            self._buckets["tokens"] = Bucket(settings.tokens_per_minute, least=1.0)

    def admit(self, tokens: int, now: float) -> float:
        """Seconds that a request of so many tokens must wait; 0.0 takes it out of the limits, more takes nothing."""
        amounts = {"requests": 1, "tokens": tokens}
        wait = max((bucket.wait(amounts[name], now) for name, bucket in self._buckets.items()), default=0.0)
        if wait == 0.0:
            for name, bucket in self._buckets.items():
                bucket.take(amounts[name], now)
        return wait

    def headers(self, now: float) -> dict[str, str]:
        """The x-ratelimit headers: the limit a minute, what would pass now, and the time until the bucket is full."""
        headers = {}
        for name, bucket in self._buckets.items():
            level = bucket.level(now)
            headers[f"x-ratelimit-limit-{name}"] = f"{bucket.per_minute:.0f}"
            headers[f"x-ratelimit-remaining-{name}"] = str(max(0, math.floor(level)))
            headers[f"x-ratelimit-reset-{name}"] = duration((bucket.burst - level) / bucket.rate)
        return headers


def duration(seconds: float) -> str:
    """A time as OpenAI writes it: 0s, 20ms, 1.2s, 6m0s, 1h2m3s; rounded up to milliseconds."""
    ms = math.ceil(round(seconds * 1000, 6))
    if ms < 1000:
        return f"{ms}ms" if ms else "0s"
    minutes, ms = divmod(ms, 60_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{ms / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text


def retry_after(seconds: float) -> str:
    """Seconds for a Retry-After, rounded up to milliseconds, so that who waits that long does pass."""
    return f"{math.ceil(round(seconds * 1000, 6)) / 1000:.3f}"
