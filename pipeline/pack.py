"""From messages to windows of tokens: what is trained on, and how documents share a window without seeing each other.

Labels are -100 everywhere but on the reply and its end-of-turn token. positions restart at every document: attention
that builds its mask from them (transformers with use_cache=False and no attention_mask) keeps documents apart.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

import pyarrow as pa

from pipeline.errors import Stop
from pipeline.prompts import OPEN

IGNORED = -100
WINDOW_SCHEMA = pa.schema(
    [
        pa.field("ids", pa.list_(pa.int32())),
        pa.field("labels", pa.list_(pa.int32())),
        pa.field("positions", pa.list_(pa.int32())),
        pa.field("num_labels", pa.int64()),
        pa.field("num_tokens", pa.int64()),
    ]
)


class Tokenizer(Protocol):
    """What is used of a transformers tokenizer."""

    eos_token_id: int
    all_special_ids: list[int]

    def apply_chat_template(self, conversation: Any, *, tokenize: bool, add_generation_prompt: bool) -> Any:
        """The conversation as the model's own text."""
        ...

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """The text's token ids."""
        ...


@dataclass(frozen=True, slots=True)
class Document:
    """One example's tokens; labels are not shifted (the loss shifts them)."""

    ids: list[int]
    labels: list[int]

    @property
    def num_labels(self) -> int:
        """How many tokens are trained on; the first token of a document is never predicted."""
        return sum(label != IGNORED for label in self.labels[1:])


def encode(messages: Sequence[dict[str, str]], tokenizer: Tokenizer) -> Document:
    """The tokens of a conversation: the prompt as the template writes it, then the reply as it is, then its end.

    The assistant's turn does not go through the template: many templates cut the thought out of it.
    """
    prompt = tokenizer.apply_chat_template(list(messages[:-1]), tokenize=False, add_generation_prompt=True)
    reply = messages[-1]["content"]
    if prompt.rstrip().endswith(OPEN) and reply.startswith(OPEN):
        reply = reply[len(OPEN) :].lstrip("\n")
    prompt_ids = tokenizer.encode(prompt, add_special_tokens=False)
    reply_ids = [*tokenizer.encode(reply, add_special_tokens=False), end_of_turn(tokenizer)]
    return Document(ids=prompt_ids + reply_ids, labels=[IGNORED] * len(prompt_ids) + reply_ids)


def end_of_turn(tokenizer: Tokenizer) -> int:
    """The special token that the template puts after an assistant's turn, or the end-of-text token if it puts none."""
    mark = "the reply"
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": mark}]
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=False)
    after = tokenizer.encode(text.rpartition(mark)[2].strip(), add_special_tokens=False)
    return after[0] if after and after[0] in tokenizer.all_special_ids else tokenizer.eos_token_id


def best_fit(lengths: Sequence[int], *, window: int) -> list[list[int]]:
    """Bins of document numbers, none over `window` tokens: best-fit decreasing (Ding et al., 2404.10830).

    Raises ValueError for a document that is longer than a window.
    """
    # room -> bins with that room; `rooms` lists those that have any: best fit is the smallest that is large enough.
    by_room: dict[int, list[int]] = {}
    rooms: list[int] = []
    bins: list[list[int]] = []

    def put(number: int, room: int) -> None:
        if not by_room.setdefault(room, []):
            insort(rooms, room)
        by_room[room].append(number)

    for number in sorted(range(len(lengths)), key=lambda n: (-lengths[n], n)):
        length = lengths[number]
        if length > window:
            raise ValueError(f"document {number} has {length} tokens, more than a window of {window}")
        at = bisect_left(rooms, length)
        if at == len(rooms):
            bins.append([])
            put(len(bins) - 1, window)
            at = len(rooms) - 1
        room = rooms[at]
        chosen = by_room[room].pop()
        if not by_room[room]:
            rooms.pop(at)
        bins[chosen].append(number)
        put(chosen, room - length)
    return bins


def pack(documents: Sequence[Document], *, window: int, pad_id: int, seed: int) -> pa.Table:
    """Windows of exactly `window` tokens, in an order drawn from the seed; the rest of a window is padding."""
    bins = best_fit([len(document.ids) for document in documents], window=window)
    Random(seed).shuffle(bins)
    return pa.Table.from_pylist(
        [_window([documents[n] for n in held], window=window, pad_id=pad_id) for held in bins], schema=WINDOW_SCHEMA
    )


def fitting(documents: Iterable[Document], *, window: int) -> tuple[list[Document], int]:
    """The documents that fit a window, and how many do not. Raises Stop when none fits."""
    held = list(documents)
    fit = [document for document in held if len(document.ids) <= window]
    if held and not fit:
        shortest = min(len(document.ids) for document in held)
        raise Stop(f"no example fits train.window={window} tokens; the shortest has {shortest}: raise train.window")
    return fit, len(held) - len(fit)


def _window(documents: Sequence[Document], *, window: int, pad_id: int) -> dict[str, Any]:
    ids: list[int] = []
    labels: list[int] = []
    positions: list[int] = []
    for document in documents:
        ids += document.ids
        # Nothing may be predicted from the document before.
        labels += [IGNORED, *document.labels[1:]]
        positions += range(len(document.ids))
    num_tokens = len(ids)
    padding = window - num_tokens
    return {
        "ids": ids + [pad_id] * padding,
        "labels": labels + [IGNORED] * padding,
        "positions": [*positions, *range(padding)],
        "num_labels": sum(document.num_labels for document in documents),
        "num_tokens": num_tokens,
    }
