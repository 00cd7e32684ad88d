"""open_ended: a problem that asks for words, a drawing, an example or a reason, and for no value beside."""

import re

from pipeline.record import Problem
from pipeline.rules.asking import BEGINS, asks_value, open_question
from pipeline.rules.quoting import quoted
from pipeline.rules.settings import RowSettings
from pipeline.written import exact_number

_OPEN = re.compile(
    rf"""(?imx)
    {BEGINS}(?:(?:briefly|fully|carefully|in\s+your\s+own\s+words,?)\s+)?
    (?P<order>
      explain | describe | discuss | design\b | justify | elaborate | interpret | comment\s+on | outline
        | summari[sz]e
    | reflect\s+on | investigate | explore | compare\s+and\s+contrast | compare\s+the\s+(?:advantages|methods)
    | (?:write|compose|create|make\s+up|invent|pose|draft)\s+(?:me\s+)?(?:an?|your\s+own|two|three|some)\s+
        (?:[\w-]+\s+){{0,3}}(?:essay|story|poem|paragraph|report|letter|program|word\s+problem|problem|question|song
        |summary|script|plan|speech|article|quiz)
    | (?:give|provide|find|suggest|name|list)\s+(?:an?|one|some|two|three|several)\s+
        (?:[\w-]+\s+){{0,3}}(?:examples?|reasons?|situations|ways|strateg(?:y|ies)|methods|applications)
    | tell\s+me\s+(?:something|about)\b | support\s+your | propose\s | suggest\s+(?:an?|how)\b | (?:draw|sketch
      |plot|graph)\s+(?:an?|the|each|and|on|\$|\\)
    | develop\s+an?\b
    | construct\s+(?:an?|the)\s+(?:\w+\s+){{0,2}}
        (?:triangle|circle|square|line|segment|bisector|tangent|angle|point|table|diagram|model)\b
    )[^\n.]{{0,60}}
    """
)
_WORDS = (
    "explain", "describe", "discuss", "design", "justify", "elaborate", "interpret", "comment on", "outline", "summari",
    "reflect", "investigat", "explore", "compare", "write", "compose", "create", "make up", "invent", "pose", "draft",
    "example", "reason", "ways", "strateg", "method", "application", "propose", "suggest", "draw", "sketch", "plot",
    "graph", "develop", "construct", "situation", "tell me", "support",
)  # fmt: skip


_OBJECT = re.compile(r"\$?(?:\\left)?\s*[(\[][^()\[\]]{1,100},[^()\[\]]{1,100}[)\]]\$?")


def open_ended(problem: Problem, settings: RowSettings) -> str | None:
    """What it asks for that nothing can be compared with."""
    text = problem.prompt
    # A gold that can be compared says that a value was asked for, whatever the words.
    if exact_number(problem.answer) is not None or _OBJECT.fullmatch(problem.answer.strip()):
        return None
    found = _open(text) or open_question(text)
    return None if found is None or asks_value(text) else quoted(found)


def asks_words(text: str) -> bool:
    """Whether a text orders words, a drawing or an example, whatever else it asks."""
    return _open(text) is not None


def _open(text: str) -> str | None:
    low = text.lower()
    found = _OPEN.search(text) if any(word in low for word in _WORDS) else None
    return text[found.start("order") : found.end()] if found else None
