"""Read a chat completion off a response: server-sent events, or one JSON body."""

import json
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson

_PIECES = 256
_MOST_TOKENS = 1 << 40


@dataclass
class Reply:
    """What the endpoint said. `reasoning_tokens`: None when not counted apart; `counted`: it sent usage."""

    content: str = ""
    reasoning: str = ""
    finish_reason: str = ""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int | None = None
    counted: bool = True


class _Text:
    """A text that grows by small pieces; they are joined now and then, as ten thousand strings weigh far more."""

    __slots__ = ("_done", "_pieces")

    def __init__(self) -> None:
        self._done: list[str] = []
        self._pieces: list[str] = []

    def add(self, piece: str) -> None:
        self._pieces.append(piece)
        if len(self._pieces) >= _PIECES:
            self._done.append("".join(self._pieces))
            self._pieces.clear()

    def __str__(self) -> str:
        return "".join([*self._done, *self._pieces])


@dataclass
class _Parts:
    content: _Text = field(default_factory=_Text)
    reasoning: _Text = field(default_factory=_Text)
    finish_reason: str = ""
    usage: Any = None
    done: bool = False

    def add(self, event: dict[str, Any]) -> None:
        if error := event.get("error"):
            raise ValueError(f"the stream broke off with: {error}")
        if usage := event.get("usage"):
            self.usage = usage
        for choice in event.get("choices") or ():
            delta = choice.get("delta") or {}
            if content := delta.get("content"):
                self.content.add(_text(content))
            if reasoning := delta.get("reasoning_content") or delta.get("reasoning"):
                self.reasoning.add(_text(reasoning))
            if finish_reason := choice.get("finish_reason"):
                self.finish_reason = finish_reason


async def read_stream(response: aiohttp.ClientResponse) -> Reply:
    """The reply of a stream of events. Raises ValueError when it ends before it says why it finished."""
    parts = _Parts()
    rest = b""
    # Chunks are split by hand: aiohttp's own line reader refuses long lines and costs more an event.
    async for chunk in response.content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            _take(line, parts)
    _take(rest, parts)
    if not parts.finish_reason:
        raise ValueError("the stream ended before the answer did")
    return _reply(str(parts.content), str(parts.reasoning), parts.finish_reason, parts.usage)


async def read_whole(response: aiohttp.ClientResponse) -> Reply:
    """The reply of a JSON body. Raises ValueError when it is no chat completion."""
    return whole_reply(_json(await response.read()))


def whole_reply(body: Any) -> Reply:
    """The reply of a decoded chat completion. Raises ValueError when it is none."""
    try:
        choice = body["choices"][0]
        message = choice["message"]
        content = _text(message.get("content"))
        reasoning = _text(message.get("reasoning_content") or message.get("reasoning"))
        return _reply(content, reasoning, choice.get("finish_reason") or "", body.get("usage"))
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(f"the answer is no chat completion: {str(body)[:100]}") from error


def _json(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        # A paid answer is not thrown away for a few bytes that are no UTF-8, or for half a surrogate pair.
        try:
            value = json.loads(data.decode(errors="replace"))
        except RecursionError as error:
            raise ValueError(f"the answer is no chat completion: {data[:100]!r}") from error
        return orjson.loads(json.dumps(value, ensure_ascii=False).encode(errors="replace"))


def _text(content: Any) -> str:
    """The text of a content field: a string, or a list of parts. Raises TypeError for anything else."""
    if content is None:
        return ""
    if isinstance(content, list):
        return "".join(_text(part.get("text")) for part in content)
    if not isinstance(content, str):
        raise TypeError(f"content is {type(content).__name__}")
    return content


def _take(line: bytes, parts: _Parts) -> None:
    line = line.strip()
    if line.startswith(b"data:") and not parts.done:
        data = line[5:].strip()
        if data == b"[DONE]":
            parts.done = True
            return
        try:
            parts.add(_json(data))
        except (AttributeError, TypeError) as error:
            raise ValueError(f"the stream holds no chat completion: {data[:100]!r}") from error


def _reply(content: str, reasoning: str, finish_reason: Any, usage: Any) -> Reply:
    prompt, completion = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
    total = _count(usage, "total_tokens")
    if completion is not None and total is not None:
        # Some endpoints leave the thought out of completion_tokens and bill it all the same.
        completion = max(completion, total - (prompt or 0))
    return Reply(
        content=content,
        reasoning=reasoning,
        finish_reason=str(finish_reason),
        prompt_tokens=prompt or 0,
        cached_tokens=min(_count(_inside(usage, "prompt_tokens_details"), "cached_tokens") or 0, prompt or 0),
        completion_tokens=completion or 0,
        reasoning_tokens=_count(_inside(usage, "completion_tokens_details"), "reasoning_tokens"),
        counted=bool(prompt) and bool(completion),
    )


def _inside(usage: Any, name: str) -> Any:
    return usage.get(name) if isinstance(usage, dict) else None


def _count(usage: Any, name: str) -> int | None:
    """A count of tokens; None for whatever is none: a wrong bill must not cost the answer that was paid for."""
    value = _inside(usage, name)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _MOST_TOKENS:
        return int(value)
    return None
