"""What the stand-in teacher has seen and billed, for whoever measures a client against it."""

import time
from collections import Counter, deque
from typing import Any

_MINUTE_S = 60.0
_BUCKETS_A_SECOND = 10


class Counts:
    """The figures of /stats."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.reset()

    def reset(self) -> None:
        """Begin anew; open requests stay open."""
        self.statuses: Counter[str] = Counter()
        self.odd: Counter[str] = Counter()
        self.batches = 0
        self._most_in_flight = self.in_flight
        self._billed = self._prompt = self._completion = 0
        self._distinct: set[int] = set()
        self._started = time.monotonic()
        self._arrivals: list[int] = []
        self._minute: deque[float] = deque()
        self._most_per_minute = 0

    def arrived(self) -> None:
        """A chat request has come and is open until `left`."""
        self.in_flight += 1
        self._most_in_flight = max(self._most_in_flight, self.in_flight)
        now = time.monotonic()
        bucket = int((now - self._started) * _BUCKETS_A_SECOND)
        if bucket >= len(self._arrivals):
            self._arrivals.extend([0] * (bucket + 1 - len(self._arrivals)))
        self._arrivals[bucket] += 1
        minute = self._minute
        minute.append(now)
        while minute[0] <= now - _MINUTE_S:
            minute.popleft()
        self._most_per_minute = max(self._most_per_minute, len(minute))

    def left(self) -> None:
        """A chat request has ended, however it did."""
        self.in_flight -= 1

    def bill(self, digest: int, *, prompt_tokens: int, completion_tokens: int) -> None:
        """A request was answered 200, in whole or in part."""
        self._billed += 1
        self._prompt += prompt_tokens
        self._completion += completion_tokens
        self._distinct.add(digest)

    def told(self) -> dict[str, Any]:
        """All figures, as /stats gives them."""
        return {
            "requests": dict(self.statuses),
            "in_flight": self.in_flight,
            "max_in_flight": self._most_in_flight,
            "billed": {
                "requests": self._billed,
                "prompt_tokens": self._prompt,
                "completion_tokens": self._completion,
            },
            "distinct": len(self._distinct),
            "most_per_minute": self._most_per_minute,
            "arrivals": self._arrivals,
            "odd": dict(self.odd),
            "batches": self.batches,
        }
