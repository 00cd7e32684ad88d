"""A chat request, as far as the stand-in teacher reads it."""

from dataclasses import dataclass
from typing import Any

import orjson
import xxhash

from pipeline.prompts import OPEN, join

CHARS_PER_TOKEN = 4


class BadRequest(Exception):
    """The request is wrong; its text is the 400's message."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks: the problem, the draw, the cap, and the beginning of the answer if it is to go on."""

    model: Any
    messages: list[dict[str, Any]]
    message: str
    """The user's last text: the problem."""
    beginning: str | None
    """The assistant's text that the answer must go on from."""
    seed: int
    max_tokens: int | None
    stream: bool

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the problem, and of the beginning that is gone on from."""
        return tokens(self.message) + (tokens(self.beginning) if self.beginning else 0)

    @property
    def digest(self) -> int:
        """64 bits that two requests share only when messages, seed and max_tokens are the same."""
        return xxhash.xxh3_64_intdigest(orjson.dumps([self.messages, self.seed, self.max_tokens]))


def tokens(text: str) -> int:
    """A stand-in has no tokenizer: four characters a token is what its bill says."""
    return -(-len(text) // CHARS_PER_TOKEN)


def read(body: bytes | dict[str, Any]) -> Asked:
    """The request of a body. Raises BadRequest."""
    try:
        values = orjson.loads(body) if isinstance(body, bytes) else body
        messages = values["messages"]
        last = messages[-1]
        beginning = _beginning(values, last)
        message = (last if beginning is None else messages[-2])["content"]
        seed = int(values.get("seed") or 0)
        most = values.get("max_completion_tokens")
        most = values.get("max_tokens") if most is None else most
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise BadRequest(f"this is no chat request ({type(error).__name__}: {error})") from error
    if not isinstance(message, str):
        raise BadRequest("the stand-in teacher reads messages whose content is a text")
    if most is not None and (not isinstance(most, int) or most < 1):
        raise BadRequest(f"max_tokens is {most}; it must be at least 1")
    return Asked(values.get("model"), messages, message, beginning, seed, most, bool(values.get("stream")))


def _beginning(values: dict[str, Any], last: dict[str, Any]) -> str | None:
    """The assistant's text so far, in vLLM's way of asking to go on (continue_final_message) or DeepSeek's (prefix)."""
    if last.get("role") != "assistant":
        return None
    if values.get("continue_final_message") is not True and last.get("prefix") is not True:
        raise BadRequest(
            "the last message is the assistant's: continue_final_message=true or its prefix=true asks to go on"
        )
    thought, reply = last.get("reasoning_content") or last.get("reasoning"), str(last["content"] or "")
    if not thought:
        return reply
    return join(thought=thought, reply=reply) if reply else f"{OPEN}\n{thought}"
