r"""multi_part: several questions in one problem, (a) ... (b) ..., where one gold answer can't be the answer to all.

What makes marked pieces parts is that each orders or asks something. Choices, conditions on a function and given facts
are marked in the same way, and order nothing.
"""

import re

from pipeline.record import Problem
from pipeline.rules.asking import asks_value
from pipeline.rules.open_ended import asks_words
from pipeline.rules.proof import asks_proof
from pipeline.rules.quoting import quoted
from pipeline.rules.settings import RowSettings
from pipeline.rules.several import answers_in

_ROMAN = ("i", "ii", "iii", "iv", "v", "vi", "vii", "viii")
_LETTERS = tuple("abcdefgh")
_NUMBERS = tuple("12345678")
# Where a mark may stand: at the beginning, or behind white space or the end of a sentence; f(a) is no mark.
_BEFORE = r"(?:(?<=\s)|(?<=[.;:?!,*])|^)"
_MARKS = (
    (_LETTERS, re.compile(rf"(?m){_BEFORE}(?:\*\*|\\textbf\{{|\\text\{{|\\item\s*\[?)?\$?\((?P<mark>[a-hA-H])\)")),
    (
        _ROMAN,
        re.compile(
            rf"(?m){_BEFORE}(?:\*\*|\\textbf\{{)?\$?\((?P<mark>viii|vii|vi|iv|v|iii|ii|i|I{{1,3}}"
            rf"|IV)\)"
        ),
    ),
    (_NUMBERS, re.compile(rf"(?m){_BEFORE}(?:\*\*)?\$?[(\uff08](?P<mark>[1-8])[)\uff09]")),
    (_NUMBERS, re.compile(r"[\u2460-\u2467]")),
    (_NUMBERS, re.compile(r"[\u2160-\u2167]")),
    (_LETTERS, re.compile(rf"(?m){_BEFORE}(?P<mark>[a-hA-H])\)(?=\s|\$)")),
    (_ROMAN, re.compile(rf"(?m){_BEFORE}(?P<mark>viii|vii|vi|iv|v|iii|ii|i)\)(?=\s|\$)")),
    (_NUMBERS, re.compile(r"(?m)(?:^|(?<=[.?!;:]\s))\s*(?:\*\*)?(?P<mark>[1-8])[.)](?=\s)")),
    (_LETTERS, re.compile(r"(?m)^\s*(?:\*\*)?(?P<mark>[a-hA-H])\.(?=\s)")),
    (_NUMBERS, re.compile(r"(?i)\b(?:part|question|problem|task|q)\s*\(?(?P<mark>[1-8])\b\)?")),
    (_LETTERS, re.compile(r"(?i)\bpart\s*\(?(?P<mark>[a-h])\b\)?")),
)
_CIRCLED = {chr(first + place): str(place + 1) for first in (0x2460, 0x2160) for place in range(8)}
_MAYBE = re.compile(
    r"[(\uff08\s.*{\[]\(?(?:[aA1iI]|\uff11)[).\uff09]|^[aA1iI][).]|[\u2460\u2160]|(?i:\b(?:part|question"
    r"|problem|task|q)\s*\(?[1a]\b)"
)
# "Find: (a) the area (b) the perimeter" orders once, before the marks.
_ORDERS_ALL = re.compile(
    r"(?is)(?:^|[.;:,!?\n]\s*|\b(?:and|then)\s+)(?:find|determine|calculate|compute|evaluate|simplify|solve"
    r"|factor(?:i[sz]e)?|state|write\s+down|expand|"
    r"answer|what\s+(?:is|are)|how\s+many)\b(?:\s+(?:each|the|of|following|values?|expressions?|questions?"
    r"|equations?|both)){0,6}\s*[:.,-]?\s*[$*]*$"
)
_ORDERS_BEFORE = re.compile(
    r"(?is)(?:^|[.;!?\n]\s*)(?:find|determine|calculate|compute|evaluate|state|solve)\b[^.?!:]{0,60}:?\s*$"
)
_ORDERS = re.compile(
    r"(?i)\b(?:find|determine|compute|calculate|how\s+(?:many|much|long|far)|what\s+(?:is|are)|state|which\s+is)\b"
)
_GOLD = re.compile(r"\(?(?:a|i|1)\)[^()]{1,200}\(?(?:b|ii|2)\)")
_LETTER = re.compile(r"(?:\\text(?:bf)?\s*\{)?\s*\(?[A-J]\)?\.?\}?")
_WORDS = re.compile(r"[^\W\d_]{3,}")
_CHOICE_OF = re.compile(r"(?i)\bwhich\s+(?:one\s+)?(?:of|is|are)\b|\btrue\s+or\s+false\b|\bchoose\b|\bselect\b")


def multi_part(problem: Problem, settings: RowSettings) -> str | None:
    """Two or more marked pieces that each order or ask something."""
    text = problem.prompt
    if _GOLD.match(problem.answer.strip()):
        return f"the gold answers parts: {quoted(problem.answer)}"
    if len(_ORDERS.findall(text)) > 1 and len(answers_in(problem.answer)) > 1:
        return f"it asks more than once, and the gold answers more than once: {quoted(problem.answer)}"
    # A letter for gold says that what is marked are choices.
    if _MAYBE.search(text) is None or _LETTER.fullmatch(problem.answer.strip()):
        return None
    for names, pattern in _MARKS:
        places = _in_order(text, names, pattern)
        if len(places) > 1 and _are_parts(text, places):
            return quoted(" ... ".join(text[start : end + 20].strip() for start, end in places[:3]))
    return None


def _in_order(text: str, names: tuple[str, ...], pattern: re.Pattern[str]) -> list[tuple[int, int]]:
    """Where the marks stand that follow each other from the first: a, b, c; none when there is no first."""
    places: list[tuple[int, int]] = []
    for match in pattern.finditer(text):
        mark = _CIRCLED.get(match.group()) or match["mark"].lower()
        if mark == names[len(places)]:
            places.append(match.span())
            if len(places) == len(names):
                break
    return places


def _are_parts(text: str, places: list[tuple[int, int]]) -> bool:
    ends = [start for start, _ in places[1:]] + [len(text)]
    pieces = [text[end:stop] for (_, end), stop in zip(places, ends, strict=True)]
    if sum(_asks(piece.strip()) for piece in pieces) > 1:
        return True
    stem = text[: places[0][0]][-300:]
    if _CHOICE_OF.search(stem):
        return False
    if _ORDERS_ALL.search(stem):
        return True
    return _ORDERS_BEFORE.search(stem) is not None and all(len(_WORDS.findall(piece)) > 1 for piece in pieces)


def _asks(piece: str) -> bool:
    return "?" in piece or "\uff1f" in piece or asks_value(piece) or asks_proof(piece) or asks_words(piece)
