"""proof: a problem that asks to prove something, and for no value beside: nothing can be compared with a proof."""

import re

from pipeline.record import Problem
from pipeline.rules.asking import BEGINS, asks_value
from pipeline.rules.quoting import quoted
from pipeline.rules.settings import RowSettings

_PROOF = re.compile(
    rf"""(?imx)
    (?:{BEGINS}|\bhelp\s+me\s+)(?:(?:must|should|needs?\s+to|have\s+to|has\s+to|carefully|rigorously|formally
      |directly|briefly)\s+)?
    (?P<order>
      (?:dis)?prove\b(?!\s+(?:himself|herself|themselves|it\s+to|to\s+be))
    | show\s+(?:(?:directly|also|further|then|first)\s+)?that
    | show\s+(?:why\s+the|how\s+to\s+prove|how\s+this\s+implies|there\s+(?:is|are|exists?)|:|\$|\\[(\[]
        |the\s+(?:inequality|identity|equality|existence|following))
    | demonstrate\s+(?:that|the|how|why|:|\$) | verify\s+(?:that|the\s+(?:identity|inequality|equality|claim|theorem))
    | establish\s+(?:that|the\s+(?:identity|inequality|equality|formula)) | deduce\s+that | justify\s+that
    | (?:give|write|provide|construct|find)\s+(?:a|the)\s+(?:\w+\s+){{0,3}}(?:proof|counterexample)\b
    )[^\n.]{{0,60}}
    """
)
# "Can it be odd? Prove it" asks for the proof.
_YES_OR_NO = re.compile(r"(?i)(?:(?<=[.?!\n]\s)|^)(?:is|are|does|do|can|could|must|has|have|will)\b[^.?!\n]{1,300}\?")
_WORDS = ("prove", "show", "demonstrate", "verify", "establish", "deduce", "justify", "proof", "counterexample")
_FOREIGN_WORDS = (" que ", " dass ", "beweis", "dimostra")
_FOREIGN = re.compile(
    r"\u8bc1\u660e|\u6c42\u8bc1|\u8a3c\u660e|\u8a3c\u305b\u3088"
    r"|(?i:\b(?:\u0434\u043e\u043a\u0430\u0436\u0438\u0442\u0435|\u0434\u043e\u043a\u0430\u0437\u0430\u0442\u044c"
    r"|demuestr[ae]|demostrar|prueb[ae]\s+que|d\u00e9montre[rz]?|prouve[rz]?|montre[rz]?\s+que|beweisen?"
    r"|zeigen?\s+sie,?\s+dass?|zeige,?\s+dass|mostre\s+que|prove\s+que|dimostra(?:re)?)\b)"
)


def proof(problem: Problem, settings: RowSettings) -> str | None:
    """What it asks to prove or show."""
    text = problem.prompt
    found = _proof(text)
    if found is None:
        return None
    # "Show that there is a way to find x" orders no value; what follows the sentence may.
    return None if asks_value(_YES_OR_NO.sub(" ", text)) else quoted(found)


def asks_proof(text: str) -> bool:
    """Whether a text orders a proof, whatever else it asks."""
    return _proof(text) is not None


def _proof(text: str) -> str | None:
    low = text.lower()
    if any(word in low for word in _WORDS) and (found := _PROOF.search(text)):
        return text[found.start("order") : found.end()]
    foreign = _FOREIGN.search(text) if any(word in low for word in _FOREIGN_WORDS) or not low.isascii() else None
    return text[foreign.start() : foreign.end() + 40] if foreign else None
