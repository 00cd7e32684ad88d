"""What is done about an answer that hit its cap on tokens: kept as it is, continued, made to end, or asked again with a
higher cap.

Each step is a call of its own with a key of its own, so the ledger holds all that was bought; the trace is made of the
whole chain.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import orjson
from pydantic import Field, model_validator

from pipeline.ledger import Call, Entry, call_key, canonical
from pipeline.prompts import CLOSE, force, join_open, split
from pipeline.settings import Settings


class Truncated(Settings):
    """What is done about an answer that hit max_tokens."""

    policy: Literal["keep", "continue", "raise", "force"] = "keep"
    """keep: it stays as truncated; continue: it goes on from where it was cut (a teacher's `continues` says how);
    raise: it is asked once more with a higher cap; force: its thought is ended and its final answer asked for."""
    max_tokens: int | None = Field(default=None, gt=0)
    """raise: the higher cap, tokens; force: the most tokens of the final answer."""
    rounds: int = Field(default=1, gt=0)
    """continue: the most continuations of one answer."""

    @model_validator(mode="after")
    def _raise_has_a_cap(self) -> "Truncated":
        if (self.policy in ("raise", "force")) != (self.max_tokens is not None):
            raise ValueError("policy=raise needs max_tokens (the higher cap), so does force (for its answer), no other")
        return self


def chain(call: Call, known: Mapping[str, Entry], policy: Truncated) -> tuple[list[Entry], Call | None]:
    """The entries of a call and of what follows it, as far as they are known, and the next call to buy, if any."""
    held: list[Entry] = []
    wanted: Call | None = call
    while wanted is not None and wanted.key in known:
        held.append(known[wanted.key])
        wanted = _following(call, held, policy)
    return held, wanted


def joined(held: list[Entry]) -> Entry:
    """The one answer that a complete chain comes to.

    Seconds, requests and costs are those of all its calls; tokens are those of its text and of the prompt, once.
    """
    first, last = held[0], held[-1]
    if len(held) == 1:
        return first
    whole = last if last.outcome == "answered" else held[-2]
    if _continues(held[1]):
        taken = split(_text(held[: held.index(whole) + 1]), truncated=whole.finish_reason == "length")
        thought_tokens, reply_tokens = _tokens(held)
        whole = replace(
            whole,
            thought=taken.thought,
            reply=taken.reply,
            prompt_tokens=first.prompt_tokens,
            thought_tokens=thought_tokens,
            reply_tokens=reply_tokens,
        )
    return replace(
        whole,
        key=first.key,
        messages=first.messages,
        cost_usd=sum(entry.cost_usd for entry in held),
        unsure_usd=sum(entry.unsure_usd for entry in held),
        seconds=sum(entry.seconds for entry in held),
        attempts=sum(entry.attempts for entry in held),
    )


def _following(call: Call, held: list[Entry], policy: Truncated) -> Call | None:
    last = held[-1]
    if last.finish_reason != "length" or last.outcome != "answered":
        return None
    if policy.policy == "raise" and len(held) == 1:
        sampling = canonical({**orjson.loads(call.sampling), "max_tokens": policy.max_tokens})
        return _keyed(call, messages=call.messages, sampling=sampling)
    if policy.policy == "continue" and len(held) <= policy.rounds:
        messages = [*orjson.loads(call.messages), _said(_text(held).rstrip())]
        return _keyed(call, messages=canonical(messages), sampling=call.sampling)
    if policy.policy == "force" and len(held) == 1:
        messages = [*orjson.loads(call.messages), _said(force(thought=last.thought, reply=last.reply))]
        sampling = canonical({**orjson.loads(call.sampling), "max_tokens": policy.max_tokens})
        return _keyed(call, messages=canonical(messages), sampling=sampling)
    return None


def _said(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def _text(held: list[Entry]) -> str:
    """The parts as one text: the last was asked to go on from all that is before it."""
    last = held[-1]
    if len(held) == 1:
        return join_open(thought=last.thought, reply=last.reply)
    return _before(last) + last.reply


def _before(entry: Entry) -> str:
    """The text that a later part goes on from."""
    return str(orjson.loads(entry.messages)[-1]["content"])


def _keyed(call: Call, *, messages: str, sampling: str) -> Call:
    key = call_key(engine=call.engine, messages=messages, sampling=sampling, seed=call.seed, draw=call.draw)
    return replace(call, key=key, messages=messages, sampling=sampling)


def _continues(entry: Entry) -> bool:
    return bool(orjson.loads(entry.messages)[-1]["role"] == "assistant")


def _tokens(held: list[Entry]) -> tuple[int, int]:
    """Thought and reply tokens of all parts; how a continuation is split is not known, so it counts where it began."""
    thinking, replying = held[0].thought_tokens, held[0].reply_tokens
    for entry in held[1:]:
        more = entry.thought_tokens + entry.reply_tokens
        if held[0].reply or CLOSE in _before(entry):
            replying += more
        else:
            thinking += more
    return thinking, replying
