"""From messages to windows of tokens: what is trained on, and how documents share a window without seeing each other.

Labels are -100 everywhere but on the reply and its end-of-turn token. positions restart at every document: attention
that builds its mask from them (transformers with use_cache=False and no attention_mask) keeps documents apart.
"""

import re
from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pipeline.prompts import CLOSE, OPEN, opens_thought
from pipeline.row_groups import runs

IGNORED = -100
Ids = npt.NDArray[np.int32]
_TAGS = re.compile(f"({OPEN}|{CLOSE})")
_CHARACTERS_AT_ONCE = 1 << 20


class Refused(Exception):
    """Messages of which the chat template makes no prompt."""


class Tokenizer(Protocol):
    """What is used of a transformers tokenizer."""

    eos_token_id: int
    all_special_ids: list[int]

    def apply_chat_template(self, conversation: Any, *, tokenize: bool, add_generation_prompt: bool) -> Any:
        """The conversation as the model's own text."""
        ...

    def __call__(self, text: Any, *, add_special_tokens: bool, split_special_tokens: bool) -> Mapping[str, Any]:
        """`input_ids`: each text's token ids; split_special_tokens reads the names of special tokens as plain text."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Document:
    """One example's tokens, of which the first `prompt` are not trained on."""

    ids: Ids
    prompt: int

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """What is learnt at each token, not shifted (the loss shifts them)."""
        labels = self.ids.astype(np.int64)
        labels[: self.prompt] = IGNORED
        return labels

    @property
    def num_labels(self) -> int:
        """How many tokens are trained on; the first token of a document is never predicted."""
        return len(self.ids) - max(1, self.prompt)

    def cut(self, window: int) -> "Document":
        """Its first tokens; an end token that lies behind them is gone."""
        return Document(self.ids[:window], min(self.prompt, window))


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """Documents that are trained on together, one behind the other; no padding."""

    ids: Ids
    lengths: Ids
    """Tokens of each document."""
    prompts: Ids
    """Tokens at each document's head that are not trained on."""
    examples: tuple[str, ...]
    """Which example each document is."""

    @property
    def num_labels(self) -> int:
        """How many tokens are trained on."""
        return int((self.lengths - np.maximum(self.prompts, 1)).sum())

    @property
    def documents(self) -> list[Document]:
        """Its documents, in order."""
        pieces = np.split(self.ids, np.cumsum(self.lengths)[:-1])
        return [Document(ids, prompt) for ids, prompt in zip(pieces, self.prompts.tolist(), strict=True)]


def laid_out(window: Window, *, size: int, pad_id: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """ids, labels and positions of a window, each int64 of length `size`; what its documents leave is padding.

    Labels are not shifted; they are -100 on prompts, on each document's first token, which must not be predicted from
    the document before, and on padding. positions restart at each document and at the padding.
    """
    used = len(window.ids)
    assert used == window.lengths.sum() <= size, f"{used=} {window.lengths.sum()=} {size=}"
    ids, labels = np.full(size, pad_id, dtype=np.int64), np.full(size, IGNORED, dtype=np.int64)
    starts = np.cumsum(window.lengths) - window.lengths
    positions = np.concatenate((np.arange(used) - np.repeat(starts, window.lengths), np.arange(size - used)))
    trained = positions[:used] >= np.repeat(np.maximum(window.prompts, 1), window.lengths)
    ids[:used] = window.ids
    labels[:used][trained] = window.ids[trained]
    return ids, labels, positions


def together(documents: Sequence[Document], examples: Sequence[str]) -> Window:
    """One window of these documents, in their order."""
    return Window(
        ids=np.concatenate([document.ids for document in documents]),
        lengths=np.array([len(document.ids) for document in documents], dtype=np.int32),
        prompts=np.array([document.prompt for document in documents], dtype=np.int32),
        examples=tuple(examples),
    )


def turn(messages: Sequence[Mapping[str, str]], tokenizer: Tokenizer) -> tuple[str, str]:
    """The prompt as the template writes it, and what the model has to say next. Raises Refused.

    The last turn is the assistant's, and only it is trained on. It does not go through the template: many templates cut
    the thought out of it. Where the template opens the thought itself, a reply without one closes it first, as it would
    be all thought otherwise.
    """
    from jinja2 import TemplateError

    try:
        prompt = tokenizer.apply_chat_template(list(messages[:-1]), tokenize=False, add_generation_prompt=True)
    except (TemplateError, TypeError, ValueError, LookupError, AttributeError) as error:
        # A template is a program of the model's maker: it may refuse messages, and it may fail on them.
        raise Refused(str(error)) from error
    reply = messages[-1]["content"]
    if not opens_thought(prompt):
        return prompt, reply
    begun, opened, rest = reply.partition(OPEN)
    if not opened or begun.strip():
        rest = f"\n\n{CLOSE}\n\n{reply}"
    return prompt, rest.removeprefix("\n") if prompt.endswith("\n") else rest


def encode(messages: Sequence[Mapping[str, str]], tokenizer: Tokenizer) -> Document:
    """The tokens of a conversation: its prompt, then its last turn as it is, then that turn's end. Raises Refused."""
    return encode_turns([turn(messages, tokenizer)], tokenizer)[0]


def encode_turns(turns: Sequence[tuple[str, str]], tokenizer: Tokenizer) -> list[Document]:
    """The tokens of many prompts and replies (as `turn` gives them), each with its end.

    A prompt's special tokens are the template's, which also writes the BOS token if there is to be one. A reply has
    none of its own: what is spelt like one in it is plain text, or it would end the turn or begin another one.
    """
    if not turns:
        return []
    end, tags = end_of_turn(tokenizer), _special_tags(tokenizer)
    found: list[Document] = []
    for start, stop in runs([len(prompt) + len(reply) for prompt, reply in turns], most=_CHARACTERS_AT_ONCE):
        # A tokenizer makes a hundred bytes of each token.
        prompts = _ids([prompt for prompt, _ in turns[start:stop]], tokenizer, split=False)
        replies = _reply_ids([reply for _, reply in turns[start:stop]], tokenizer, tags=tags)
        for prompt, reply in zip(prompts, replies, strict=True):
            found.append(Document(np.array([*prompt, *reply, end], dtype=np.int32), len(prompt)))
    return found


def end_of_turn(tokenizer: Tokenizer) -> int:
    """The special token that the template puts after an assistant's turn, or the end-of-text token if it puts none."""
    mark = "the reply"
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": mark}]
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=False)
    (after,) = _ids([text.rpartition(mark)[2].strip()], tokenizer, split=False)
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


def _ids(texts: Sequence[str], tokenizer: Tokenizer, *, split: bool) -> list[list[int]]:
    ids: list[list[int]] = tokenizer(list(texts), add_special_tokens=False, split_special_tokens=split)["input_ids"]
    return ids


def _special_tags(tokenizer: Tokenizer) -> dict[str, int]:
    """The thought's tags that are special tokens of this tokenizer, which must stay one token each."""
    whole, split = (_ids([OPEN, CLOSE], tokenizer, split=split) for split in (False, True))
    both = zip((OPEN, CLOSE), whole, split, strict=True)
    return {tag: one[0] for tag, one, many in both if len(one) == 1 and one != many}


def _reply_ids(replies: Sequence[str], tokenizer: Tokenizer, *, tags: Mapping[str, int]) -> list[list[int]]:
    if not tags:
        return _ids(replies, tokenizer, split=True)
    pieces = [_TAGS.split(reply) for reply in replies]
    encoded = iter(_ids([piece for held in pieces for piece in held], tokenizer, split=True))
    return [
        [
            token
            for piece, ids in zip(held, encoded, strict=False)
            for token in ([tags[piece]] if piece in tags else ids)
        ]
        for held in pieces
    ]
