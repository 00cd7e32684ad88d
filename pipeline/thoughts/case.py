"""A trace as the rules see it: its texts, and what several rules need of them, made once and only when asked for."""

import functools
from dataclasses import dataclass

from pipeline.prompts import FORCED
from pipeline.record import Trace
from pipeline.thoughts.settings import ThoughtSettings
from pipeline.thoughts.words import Words, read


@dataclass(frozen=True)
class Text:
    """One text; `written` as it stands."""

    written: str

    @functools.cached_property
    def lower(self) -> str:
        return self.written.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")

    @functools.cached_property
    def words(self) -> Words:
        return read(self.written)


@dataclass(frozen=True)
class Case:
    """A trace with its length in tokens of the student, and what is asked of it."""

    trace: Trace
    settings: ThoughtSettings
    tokens: int

    @functools.cached_property
    def thought(self) -> Text:
        return Text(self.trace.thought)

    @functools.cached_property
    def reply(self) -> Text:
        return Text(self.trace.reply)

    @functools.cached_property
    def texts(self) -> tuple[Text, ...]:
        """Thought and reply, those of them that there are."""
        return tuple(text for text in (self.thought, self.reply) if text.written)

    @property
    def thinking(self) -> Text:
        """Where the thinking stands: in the reply, when a teacher gives no thought apart from it."""
        return self.thought if self.thought.written else self.reply

    @property
    def rewritten(self) -> bool:
        """Whether a solution was rewritten, so that no thought was asked for."""
        return self.trace.generation in self.settings.rewritten

    @property
    def forced(self) -> bool:
        """Whether the thought was cut at its budget on purpose, and an answer asked for."""
        return self.trace.reply.startswith(FORCED)
