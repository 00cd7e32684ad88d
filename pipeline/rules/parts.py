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

_ROMAN = ("i", "ii", "iii", "iv", "v", "vi", "vii", "viii")
_LETTERS = tuple("abcdefgh")
_NUMBERS = tuple("12345678")
# Where a mark may stand: at the beginning, or behind white space or the end of a sentence; f(a) is no mark.
_BEFORE = r"(?:(?<=\s)|(?<=[.;:?!,*])|^)"
_MARKS = (
    (_LETTERS, re.compile(rf"(?m){_BEFORE}(?:\*\*|\\textbf\{{|\\text\{{|\\item\s*\[?)?\$?\((?P<mark>[a-hA-H])\)")),
    (_ROMAN, re.compile(rf"(?m){_BEFORE}(?:\*\*|\\textbf\{{)?\$?\((?P<mark>viii|vii|vi|iv|v|iii|ii|i|I{{1,3}}|IV)\)")),
    (_NUMBERS, re.compile(rf"(?m){_BEFORE}(?:\*\*)?\$?[(\uff08](?P<mark>[1-8])[)\uff09]")),
    (_NUMBERS, re.compile(r"[\u2460-\u2467]")),
    (_LETTERS, re.compile(rf"(?m){_BEFORE}(?P<mark>[a-hA-H])\)(?=\s|\$)")),
    (_ROMAN, re.compile(rf"(?m){_BEFORE}(?P<mark>viii|vii|vi|iv|v|iii|ii|i)\)(?=\s|\$)")),
    (_NUMBERS, re.compile(r"(?m)(?:^|(?<=[.?!;:]\s))\s*(?:\*\*)?(?P<mark>[1-8])[.)](?=\s)")),
    (_LETTERS, re.compile(r"(?m)^\s*(?:\*\*)?(?P<mark>[a-hA-H])\.(?=\s)")),
    (_NUMBERS, re.compile(r"(?i)\b(?:part|question|problem|task|q)\s*\(?(?P<mark>[1-8])\b\)?")),
    (_LETTERS, re.compile(r"(?i)\bpart\s*\(?(?P<mark>[a-h])\b\)?")),
)
_CIRCLED = {
    sign: str(number) for number, sign in enumerate("\u2460\u2461\u2462\u2463\u2464\u2465\u2466\u2467", start=1)
}
_MAYBE = re.compile(
    r"[(\uff08\s.*{\[]\(?(?:[aA1iI]|\uff11)[).\uff09]|^[aA1iI][).]|\u2460|(?i:\b(?:part|question|problem|task|q)\s*\(?[1a]\b)"
)
# "Find: (a) the area (b) the perimeter" orders once, before the marks.
_ORDERS_ALL = re.compile(
    r"(?is)(?:^|[.;:,!?\n]\s*|\b(?:and|then)\s+)(?:find|determine|calculate|compute|evaluate|simplify|solve|factor(?:i[sz]e)?|state|write\s+down|expand|"
    r"answer|what\s+(?:is|are)|how\s+many)\b(?:\s+(?:each|the|of|following|values?|expressions?|questions?|equations?|both)){0,6}\s*[:.,-]?\s*[$*]*$"
)
_WORDS = re.compile(r"[^\W\d_]{3,}")
_CHOICE_OF = re.compile(r"(?i)\bwhich\s+(?:one\s+)?(?:of|is|are)\b|\btrue\s+or\s+false\b|\bchoose\b|\bselect\b")


def multi_part(problem: Problem, settings: RowSettings) -> str | None:
    """Two or more marked pieces that each order or ask something."""
    text = problem.prompt
    if _MAYBE.search(text) is None:
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
    return _ORDERS_ALL.search(stem) is not None


def _asks(piece: str) -> bool:
    return "?" in piece or "\uff1f" in piece or asks_value(piece) or asks_proof(piece) or asks_words(piece)
