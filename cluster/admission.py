"""How many draws an engine runs at once: a cap that follows what its key-value cache can hold."""

import asyncio
from collections import deque
from dataclasses import dataclass, field

_CUT = 0.8
_ROOM = 0.8


@dataclass(frozen=True, slots=True)
class Load:
    """An engine's state at one moment.

    `open` draws are let in, `preempted` counts since the start how often one was thrown out of the cache and must be
    computed again, `cache_used` is the share of the key-value cache in use (0 to 1).
    """

    open: int
    preempted: int
    cache_used: float


@dataclass
class Cap:
    """Additive increase while the cache has room, multiplicative decrease when draws were preempted.

    The limit stays between `least` and `most`. A draw that runs is never stopped for it: after a cut nothing new gets
    in until enough draws have ended, and only then may the next cut come.
    """

    least: int
    most: int
    limit: int = field(init=False)
    _preempted: int = 0

    def __post_init__(self) -> None:
        self.limit = self.most

    def look(self, load: Load) -> int:
        """The limit from now on; to be asked at even intervals."""
        preempted, self._preempted = load.preempted > self._preempted, load.preempted
        if preempted and load.open <= self.limit:
            # What overfilled the cache is what was open, which may be far below the limit.
            self.limit = max(self.least, int(load.open * _CUT))
        elif not preempted and load.cache_used < _ROOM and load.open >= self.limit:
            self.limit = min(self.most, self.limit + max(1, self.most // 64))
        return self.limit


class Gate:
    """Lets in as many at a time as its limit says, first come first served; `async with` it."""

    def __init__(self, limit: int) -> None:
        self.open = 0
        self._limit = limit
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def limit(self) -> int:
        """How many may be in at once."""
        return self._limit

    @limit.setter
    def limit(self, limit: int) -> None:
        self._limit = limit
        self._let_in()

    async def __aenter__(self) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._let_in()
        try:
            await turn
        except asyncio.CancelledError:
            # Cancelled after its turn had come: the place goes to the next.
            if turn.done() and not turn.cancelled():
                self._leave()
            raise

    async def __aexit__(self, *error: object) -> None:
        self._leave()

    def _leave(self) -> None:
        self.open -= 1
        self._let_in()

    def _let_in(self) -> None:
        while self._waiting and self.open < self._limit:
            turn = self._waiting.popleft()
            if not turn.done():
                self.open += 1
                turn.set_result(None)
