"""Examples as they are trained on: which of their tokens, and whether that is the whole reply, thought and end."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Protocol

from pipeline.pack import IGNORED, Refused, Tokenizer, encode, end_of_turn
from pipeline.prompts import CLOSE, OPEN, opens_thought
from pipeline.training.finding import Finding, refusal, warning

_SHOWN_CHARS = 60


class Reader(Tokenizer, Protocol):
    """What the gate uses of a transformers tokenizer beside what packing uses."""

    chat_template: Any
    pad_token_id: int | None

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of token ids."""
        ...

    def __len__(self) -> int:
        """Its tokens, added ones included."""
        ...


@dataclass(frozen=True, slots=True)
class TokenizerFacts:
    """What training depends on of a tokenizer. `end` is the token after a reply; None where there is none."""

    size: int
    has_template: bool
    end_id: int | None
    end: str | None
    pad_id: int | None
    pad: str | None
    drops_thought: bool

    @property
    def renders(self) -> bool:
        """Whether it can lay out an example."""
        return self.has_template and self.end_id is not None


@dataclass(frozen=True, slots=True)
class Rendered:
    """One example: its text in spans that are trained on or not, and what is wrong with it."""

    name: str
    spans: tuple[tuple[str, bool], ...]
    num_tokens: int
    num_labels: int
    findings: tuple[Finding, ...]


def facts_of(tokenizer: Reader) -> TokenizerFacts:
    """What training depends on of a tokenizer."""
    has_template = bool(tokenizer.chat_template)
    end = end_of_turn(tokenizer) if has_template else tokenizer.eos_token_id
    pad = tokenizer.pad_token_id
    return TokenizerFacts(
        size=len(tokenizer),
        has_template=has_template,
        end_id=end,
        end=None if end is None else tokenizer.decode([end]),
        pad_id=pad,
        pad=None if pad is None else tokenizer.decode([pad]),
        drops_thought=has_template and _drops_thought(tokenizer),
    )


def render(name: str, messages: Sequence[dict[str, str]], tokenizer: Reader) -> Rendered:
    """An example as `pipeline.pack.encode` has it trained on, with what is wrong with that."""
    try:
        document = encode(messages, tokenizer)
    except Refused as error:
        return Rendered(name, (), 0, 0, (refusal(f"example {name}: the chat template refuses it: {str(error)[:160]}"),))
    ids, labels = [int(token) for token in document.ids], [int(label) for label in document.labels]
    marked = list(zip(ids, (label != IGNORED for label in labels), strict=True))
    runs = [(trained, [token for token, _ in run]) for trained, run in groupby(marked, key=lambda one: one[1])]
    spans = tuple((tokenizer.decode(ids), trained) for trained, ids in runs)
    return Rendered(
        name=name,
        spans=spans,
        num_tokens=len(ids),
        num_labels=document.num_labels,
        findings=tuple(_wrong(name, messages, runs, labels, tokenizer)),
    )


def _wrong(
    name: str,
    messages: Sequence[dict[str, str]],
    runs: list[tuple[bool, list[int]]],
    labels: list[int],
    tokenizer: Reader,
) -> list[Finding]:
    if [trained for trained, _ in runs] != [False, True]:
        return [refusal(f"example {name}: what is trained on is not one piece at its end: {len(runs)} pieces")]
    prompt, (*said_ids, last) = tokenizer.decode(runs[0][1]), runs[1][1]
    found = []
    if [label for label in labels if label != IGNORED] != runs[1][1]:
        found.append(refusal(f"example {name}: its labels are not its tokens"))
    end = end_of_turn(tokenizer)
    if last != end:
        found.append(
            refusal(f"example {name} does not end with {tokenizer.decode([end])!r}, so nothing would teach to stop")
        )
    if end in said_ids:
        found.append(warning(f"example {name} has {tokenizer.decode([end])!r} inside its reply, which ends it early"))
    return [*found, *_compared(name, prompt=prompt, said=tokenizer.decode(said_ids), reply=messages[-1]["content"])]


def _compared(name: str, *, prompt: str, said: str, reply: str) -> list[Finding]:
    """Whether the text that is trained on is the reply, and has its thought.

    Where the template opens the thought, the tag is in the prompt, and a reply without a thought closes it first.
    """
    if opens_thought(prompt):
        reply = reply[len(OPEN) :] if reply.startswith(OPEN) else f"\n\n{CLOSE}\n\n{reply}"
        reply = reply[1:] if prompt.endswith("\n") and reply.startswith("\n") else reply
    if said == reply:
        return []
    thought = reply.rpartition(CLOSE)[0].partition(OPEN)[2].strip() or reply.rpartition(CLOSE)[0].strip()
    if _plain(thought) not in _plain(said):
        return [refusal(f"example {name}: its thought is not in what is trained on: the template or tokenizer cuts it")]
    at = next((n for n, (a, b) in enumerate(zip(said, reply, strict=False)) if a != b), min(len(said), len(reply)))
    parts = f"trained on {said[at : at + _SHOWN_CHARS]!r}, the reply has {reply[at : at + _SHOWN_CHARS]!r}"
    if _plain(said) == _plain(reply):
        return [warning(f"example {name}: the tokenizer writes its reply another way at character {at}: {parts}")]
    return [refusal(f"example {name}: other text is trained on than its reply, from character {at}: {parts}")]


def _plain(text: str) -> str:
    """A text whatever its spaces and its forms of the same letters."""
    return "".join(unicodedata.normalize("NFKC", text).split())


def _drops_thought(tokenizer: Reader) -> bool:
    mark = "a thought"
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": f"{OPEN}\n{mark}\n{CLOSE}\n\nb"}]
    return mark not in tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=False)
