"""Read a chat completion off a response: server-sent events, or one JSON body."""

from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson


@dataclass
class Reply:
    """What the endpoint said. `reasoning_tokens` is None when it does not count them apart."""

    content: str = ""
    reasoning: str = ""
    finish_reason: str = ""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int | None = None


@dataclass
class _Parts:
    content: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    finish_reason: str = ""
    usage: dict[str, Any] = field(default_factory=dict)
    done: bool = False

    def add(self, event: dict[str, Any]) -> None:
        if error := event.get("error"):
            raise ValueError(f"the stream broke off with: {error}")
        if usage := event.get("usage"):
            self.usage = usage
        for choice in event.get("choices") or ():
            delta = choice.get("delta") or {}
            self.content.append(_text(delta.get("content")))
            self.reasoning.append(_text(delta.get("reasoning_content") or delta.get("reasoning")))
            self.finish_reason = choice.get("finish_reason") or self.finish_reason


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
    return _reply("".join(parts.content), "".join(parts.reasoning), parts.finish_reason, parts.usage)


async def read_whole(response: aiohttp.ClientResponse) -> Reply:
    """The reply of a JSON body. Raises ValueError when it is no chat completion."""
    body = orjson.loads(await response.read())
    try:
        choice = body["choices"][0]
        message = choice["message"]
        content = _text(message.get("content"))
        reasoning = _text(message.get("reasoning_content") or message.get("reasoning"))
        return _reply(content, reasoning, choice.get("finish_reason") or "", body.get("usage") or {})
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(f"the answer is no chat completion: {str(body)[:100]}") from error


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
            parts.add(orjson.loads(data))
        except (AttributeError, TypeError) as error:
            raise ValueError(f"the stream holds no chat completion: {data[:100]!r}") from error


def _reply(content: str, reasoning: str, finish_reason: str, usage: dict[str, Any]) -> Reply:
    return Reply(
        content=content,
        reasoning=reasoning,
        finish_reason=finish_reason,
        prompt_tokens=usage.get("prompt_tokens") or 0,
        cached_tokens=(usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0,
        completion_tokens=usage.get("completion_tokens") or 0,
        reasoning_tokens=(usage.get("completion_tokens_details") or {}).get("reasoning_tokens"),
    )
