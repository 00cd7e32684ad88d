"""Answers in the API's form: one JSON body, or the frames of an event stream."""

from typing import Any

import orjson

from pipeline.standin.answers import Said
from pipeline.standin.asked import Asked, tokens
from pipeline.standin.settings import StandinSettings

DONE = b"data: [DONE]\n\n"
_FIELDS = ("reasoning_content", "reasoning", "content")


def whole(asked: Asked, said: Said, settings: StandinSettings) -> dict[str, Any]:
    """A chat completion."""
    message: dict[str, Any] = {"role": "assistant", "content": _texts(said, settings)["content"]}
    if settings.reasoning in ("reasoning_content", "reasoning"):
        message[settings.reasoning] = said.reasoning or None
    choice = {"index": 0, "message": message, "finish_reason": said.finish_reason}
    return {
        "object": "chat.completion",
        "model": asked.model,
        "choices": [choice],
        "usage": usage(asked, said, settings),
    }


def deltas(said: Said, settings: StandinSettings, *, size: int) -> list[dict[str, str]]:
    """The pieces of a streamed answer, each of `size` characters of one field."""
    texts = _texts(said, settings)
    return [{name: text[at : at + size]} for name, text in texts.items() for at in range(0, len(text), size)]


def frames(asked: Asked, said: Said, settings: StandinSettings, pieces: list[dict[str, str]]) -> list[bytes]:
    """The stream of a whole answer: its pieces, the finish, the usage and [DONE]."""
    events = [_chunk(asked, [{"index": 0, "delta": piece, "finish_reason": None}]) for piece in pieces]
    events.append(_chunk(asked, [{"index": 0, "delta": {}, "finish_reason": said.finish_reason}]))
    events.append(_chunk(asked, []) | {"usage": usage(asked, said, settings)})
    return [*map(frame, events), DONE]


def frame(event: dict[str, Any]) -> bytes:
    """One server-sent event."""
    return b"data: " + orjson.dumps(event) + b"\n\n"


def usage(asked: Asked, said: Said, settings: StandinSettings) -> dict[str, Any]:
    """The bill of an answer. Whoever serves the thought inline doesn't know it apart."""
    told = {"prompt_tokens": asked.prompt_tokens, "completion_tokens": said.completion_tokens}
    if settings.reasoning == "inline":
        return told
    return told | {"completion_tokens_details": {"reasoning_tokens": said.thought_tokens}}


def produced(said: Said, settings: StandinSettings, pieces: list[dict[str, str]]) -> int:
    """Completion tokens of an answer of which only these pieces were made; a hidden thought comes before them."""
    hidden = said.thought_tokens if settings.reasoning == "hidden" else 0
    return hidden + sum(tokens("".join(piece.get(name, "") for piece in pieces)) for name in _FIELDS)


def _texts(said: Said, settings: StandinSettings) -> dict[str, str]:
    """The answer's text by the field it goes into, in the order that it is said."""
    if settings.reasoning == "inline":
        return {"content": said.inline}
    if settings.reasoning == "hidden":
        return {"content": said.content}
    return {settings.reasoning: said.reasoning, "content": said.content}


def _chunk(asked: Asked, choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {"object": "chat.completion.chunk", "model": asked.model, "choices": choices}
