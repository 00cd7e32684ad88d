"""What the stand-in teacher says to a request: from its source, cut, withheld or continued as asked."""

import random
import re
from dataclasses import dataclass, replace

from pipeline.prompts import CLOSE, FORCED, OPEN
from pipeline.standin.asked import CHARS_PER_TOKEN, Asked, BadRequest, tokens
from pipeline.standin.judging import judge
from pipeline.standin.replay import Recorded
from pipeline.standin.settings import StandinSettings
from pipeline.standin.worked import WITHOUT_THOUGHT, work, written_out


@dataclass(frozen=True, slots=True)
class Said:
    """One answer: the thought and the reply, and the tags that stand around the thought where it is inline."""

    reasoning: str
    content: str
    finish_reason: str | None = "stop"
    lead: str = ""
    seam: str = ""

    @property
    def inline(self) -> str:
        """The answer as one text; a thought that was cut off stays open."""
        if self.reasoning and not self.content and self.finish_reason == "length":
            return self.lead + self.reasoning
        return self.lead + self.reasoning + self.seam + self.content

    @property
    def thought_tokens(self) -> int:
        """Tokens of the thought; the tags cost nothing."""
        return tokens(self.reasoning)

    @property
    def completion_tokens(self) -> int:
        """Tokens of thought and reply."""
        return tokens(self.reasoning) + tokens(self.content)


class Answers:
    """The same request always gets the same answer. Raises Stop when the recorded answers can't be read."""

    def __init__(self, settings: StandinSettings) -> None:
        self._settings = settings
        self._recorded = Recorded(settings) if settings.answers == "replay" else None

    def say(self, asked: Asked) -> Said:
        """The answer. Raises BadRequest for a problem that it doesn't know, or a beginning that isn't its own."""
        rng = random.Random(f"{asked.seed}:{asked.message}")
        said = self._full(asked, rng)
        if asked.beginning is not None and asked.beginning.endswith(FORCED):
            said = Said("", said.content.rpartition(CLOSE)[2].strip())
        elif asked.beginning is not None:
            said = go_on(said, asked.beginning)
        elif rng.random() < self._settings.share_truncated:
            said = _halved(said)
        if self._filtered(asked):
            return Said("", "", "content_filter")
        return said if asked.max_tokens is None else _capped(said, asked.max_tokens)

    def _full(self, asked: Asked, rng: random.Random) -> Said:
        if self._recorded is not None:
            content = self._recorded.find(asked.message, seed=asked.seed)
            if content is not None:
                return Said("", content)
        else:
            wrong = rng.random() < self._settings.wrong
            # A judge's question holds the problem that it is about: it comes first.
            worked = judge(asked.message, wrong=wrong) or work(asked.message, rng, wrong)
            if worked is not None and WITHOUT_THOUGHT in asked.message:
                return Said("", written_out(worked).reply)
            if worked is not None:
                return Said(worked.thought, worked.reply, lead=f"{OPEN}\n", seam=f"\n{CLOSE}\n\n")
        raise BadRequest("the stand-in teacher knows no answer to this problem")

    def _filtered(self, asked: Asked) -> bool:
        # A draw of its own, so that this share leaves every other answer as it is.
        share = self._settings.share_filtered
        return share > 0 and random.Random(f"filter:{asked.seed}:{asked.message}").random() < share


def go_on(said: Said, beginning: str) -> Said:
    """The rest of an answer after its beginning. Raises BadRequest when it doesn't begin so.

    White space in the beginning may differ from the answer's, as whoever joined it from parts may have stripped them,
    and the thought's opening tag may be there or not.
    """
    parts = (said.lead, said.reasoning, said.seam, said.content)
    for whole, skipped, text in (
        ("".join(parts), 0, beginning),
        ("".join(parts), 0, said.lead + beginning),
        ("".join(parts), 0, beginning.lstrip().removeprefix(OPEN)),
        (said.content, sum(map(len, parts[:3])), beginning),
    ):
        if (at := _after(whole, text)) is not None:
            lead, reasoning, seam, content = _from(parts, at + skipped)
            return replace(said, lead=lead, reasoning=reasoning, seam=seam, content=content)
    raise BadRequest("the assistant's text is not how the stand-in teacher's answer to this problem and seed begins")


def _after(whole: str, beginning: str) -> int | None:
    """How far into `whole` the beginning goes, when they are the same but for white space."""
    bare = "".join(beginning.split())
    at, left = 0, len(bare)
    if not "".join(whole.split()).startswith(bare):
        return None
    for word in re.finditer(r"\S+", whole):
        if not left:
            break
        at = word.start() + min(left, len(word[0]))
        left -= min(left, len(word[0]))
    tail = beginning[len(beginning.rstrip()) :]
    if not tail:
        return at
    space = len(whole[at:]) - len(whole[at:].lstrip())
    return at + len(tail) if whole.startswith(tail, at) else at + space


def _from(parts: tuple[str, ...], at: int) -> list[str]:
    """The parts without their first `at` characters."""
    rest = []
    for part in parts:
        rest.append(part[at:])
        at = max(0, at - len(part))
    return rest


def _halved(said: Said) -> Said:
    if said.reasoning:
        return replace(said, reasoning=said.reasoning[: len(said.reasoning) // 2], content="", finish_reason="length")
    return replace(said, content=said.content[: len(said.content) // 2], finish_reason="length")


def _capped(said: Said, most: int) -> Said:
    thought = said.thought_tokens
    if thought + tokens(said.content) <= most:
        return said
    reasoning = said.reasoning[: most * CHARS_PER_TOKEN]
    content = said.content[: max(0, most - thought) * CHARS_PER_TOKEN]
    return replace(said, reasoning=reasoning, content=content, finish_reason="length")
