"""From messages to a prompt's tokens and back, in one thread beside the event loop that serves the engine."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from pipeline.errors import Stop
from pipeline.prompts import opens_thought, resume

_PROMPTS_KEPT = 256


class BadPrompt(Exception):
    """Messages that the model's chat template can't turn into a prompt."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt's tokens, whether its template opens the thought itself, and whether it holds the answer's beginning."""

    ids: list[int]
    opens_thought: bool
    goes_on: bool


class Chat:
    """A model's tokenizer and chat template. Raises Stop when they can't be opened."""

    def __init__(self, model: str, path: str) -> None:
        from transformers import AutoTokenizer

        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(path)
        except (OSError, ValueError) as error:
            raise Stop(f"the tokenizer of {model} can't be opened: {(str(error).splitlines() or ['?'])[0]}") from error
        if not self._tokenizer.chat_template:
            raise Stop(f"model {model} has no chat template: take its chat variant, or add one to its tokenizer")
        # One thread: a tokenizer is not made for two at once, and long texts must not hold the event loop up.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="chat")
        # The draws of a prompt come one after another.
        self._kept = lru_cache(_PROMPTS_KEPT)(self._prompt)

    async def prompt(self, messages: str) -> Prompt:
        """The prompt of messages (JSON); an assistant's at the end is an answer to go on with. Raises BadPrompt."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._kept, messages)

    async def count(self, text: str) -> int:
        """The tokens of a text."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: len(self._encode(text)))

    def _prompt(self, messages: str) -> Prompt:
        from jinja2 import TemplateError

        asked = orjson.loads(messages)
        so_far = asked.pop()["content"] if asked[-1]["role"] == "assistant" else None
        try:
            text = self._tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
        except (TemplateError, TypeError, ValueError, LookupError, AttributeError) as error:
            # A template is a program of the model's maker: it may refuse messages, and it may fail on them.
            raise BadPrompt(f"the model's chat template refuses it: {str(error)[:160]}") from error
        opens = opens_thought(text)
        ids = self._encode(text if so_far is None else resume(text, so_far))
        if not ids:
            raise BadPrompt("the model's chat template makes an empty prompt of it")
        return Prompt(ids, opens_thought=opens, goes_on=so_far is not None)

    def _encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False) if text else []
