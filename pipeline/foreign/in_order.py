"""Many workers, one order: judged chunks come as the chunks came, with a bounded number of them on the way."""

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from pipeline.foreign.reply_files import Chunk
from pipeline.foreign.scorer import Scored

_AHEAD, _AHEAD_BYTES = 16, 16 << 20


class Workers(Protocol):
    """Places where chunks are judged."""

    @property
    def count(self) -> int:
        """How many chunks they judge at once."""
        ...

    def ask(self, chunk: Chunk) -> Scored:
        """Judge one chunk; called from as many threads as there are workers."""
        ...

    def kill(self) -> None:
        """End all that is under way, so that every `ask` returns or raises."""
        ...


def in_order(chunks: Iterator[Chunk], workers: Workers) -> Generator[tuple[Chunk, Scored], None, None]:
    """Each chunk with what came of it, in order. Chunks that wait for a slow one before them are bounded in bytes."""
    threads = ThreadPoolExecutor(workers.count, thread_name_prefix="score")
    waiting: deque[tuple[Chunk, Future[Scored]]] = deque()
    size_bytes = 0
    try:
        for chunk in chunks:
            waiting.append((chunk, threads.submit(workers.ask, chunk)))
            size_bytes += chunk.size_bytes
            while waiting and (waiting[0][1].done() or _full(len(waiting), size_bytes, workers.count)):
                done, future = waiting.popleft()
                size_bytes -= done.size_bytes
                yield done, future.result()
        while waiting:
            done, future = waiting.popleft()
            yield done, future.result()
    except BaseException:
        workers.kill()
        raise
    finally:
        threads.shutdown(wait=True, cancel_futures=True)


def _full(chunks: int, size_bytes: int, workers: int) -> bool:
    # Far enough ahead that one reply of ten seconds does not idle the others.
    return chunks > _AHEAD * workers or (size_bytes > _AHEAD_BYTES * workers and chunks > workers)
