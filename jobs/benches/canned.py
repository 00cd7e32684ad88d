"""A server that gives every chat request the same canned bytes, so light that what is measured is the client.

`python -m jobs.benches.canned EVENTS` prints its base_url and serves until standard input ends: one JSON body when
EVENTS is 0, else a stream of so many events, each a chunk of its own. It reads no more of a request than its length.
"""

import asyncio
import contextlib
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import orjson

PIECE = " and so on"
"""The text of each streamed event."""
_ROOT = Path(__file__).resolve().parent.parent.parent
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_WRITE_BYTES = 1 << 16
_USAGE = {"prompt_tokens": 40, "completion_tokens": 60, "completion_tokens_details": {"reasoning_tokens": 50}}
_ABOUT = {"id": "chatcmpl-0123456789abcdef", "created": 1_700_000_000, "model": "stand-in"}


@contextlib.contextmanager
def canned(*, events: int = 0) -> Iterator[str]:
    """A running server in a process of its own; gives its base_url."""
    process = subprocess.Popen(
        [sys.executable, "-m", "jobs.benches.canned", str(events)],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process.stdout.readline().decode().strip()
    finally:
        process.stdin.close()
        process.wait(timeout=10)


def whole() -> bytes:
    """The response with one JSON body."""
    message = {"role": "assistant", "content": "So it is \\boxed{3}.", "reasoning_content": "Count them. " * 20}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = orjson.dumps({**_ABOUT, "object": "chat.completion", "choices": [choice], "usage": _USAGE})
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def streamed(events: int) -> bytes:
    """The response with so many events of text, the finish, the usage and [DONE]."""
    told = [_event([{"index": 0, "delta": {"reasoning_content": PIECE}, "finish_reason": None}])] * (events - 1)
    told.append(_event([{"index": 0, "delta": {"content": "\\boxed{3}"}, "finish_reason": None}]))
    told.append(_event([{"index": 0, "delta": {}, "finish_reason": "stop"}]))
    told.append(_event([], usage=_USAGE))
    told.append(b"data: [DONE]\n\n")
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(event), event) for event in told) + b"0\r\n\r\n"


def _event(choices: list[dict[str, object]], **more: object) -> bytes:
    return b"data: " + orjson.dumps({**_ABOUT, "object": "chat.completion.chunk", "choices": choices, **more}) + b"\n\n"


class Canned(asyncio.Protocol):
    """One connection: for each whole request the same response, as fast as the other side reads."""

    def __init__(self, response: bytes) -> None:
        self._pieces = [response[at : at + _WRITE_BYTES] for at in range(0, len(response), _WRITE_BYTES)]
        self._asked = b""
        self._to_write: list[bytes] = []
        self._paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note where to write."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer the requests that are complete."""
        self._asked += data
        while (end := self._asked.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self._asked, 0, end)
            size = end + 4 + (int(length[1]) if length else 0)
            if len(self._asked) < size:
                return
            self._asked = self._asked[size:]
            self._to_write = self._pieces[::-1]
            self._write()

    def pause_writing(self) -> None:
        """Stop until the other side has read."""
        self._paused = True

    def resume_writing(self) -> None:
        """Go on."""
        self._paused = False
        self._write()

    def _write(self) -> None:
        while self._to_write and not self._paused:
            self._transport.write(self._to_write.pop())


async def _serve(response: bytes) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Canned(response), "127.0.0.1", 0, backlog=4096)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    ended = asyncio.Event()
    threading.Thread(target=_wait_for_end, args=(loop, ended), daemon=True).start()
    await ended.wait()


def _wait_for_end(loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
    sys.stdin.buffer.read()
    loop.call_soon_threadsafe(ended.set)


if __name__ == "__main__":
    asyncio.run(_serve(streamed(int(sys.argv[1])) if int(sys.argv[1]) else whole()))
