r"""What a short written answer is without any algebra: its exact value, its letter, its text."""

import re
import unicodedata
from fractions import Fraction

MINUS = "\N{MINUS SIGN}"
LONGEST_NUMBER = 1000
NUMBER = r"[-+]?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|[-+]?\.\d+"
_EXACT = re.compile(rf"(?P<mantissa>{NUMBER})(?:e(?P<e>[-+]?\d{{1,4}}))?", re.IGNORECASE)
_FRACTION = re.compile(rf"(?P<sign>[-+]?)\\[dt]?frac\s*\{{(?P<top>{NUMBER})\}}\s*\{{(?P<bottom>{NUMBER})\}}")
_SHORT_FRACTION = re.compile(r"(?P<sign>[-+]?)\\[dt]?frac\s*(?P<top>\d)\s*(?P<bottom>\d)")
_RATIO = re.compile(rf"(?P<sign>)(?P<top>{NUMBER})\s*/\s*(?P<bottom>{NUMBER})")
_POWER = re.compile(rf"(?:(?P<mantissa>{NUMBER})\s*(?:\\times|\\cdot|\*|x)\s*)?10\s*\^\s*\{{?(?P<e>[-+]?\d{{1,4}})\}}?")
_OPENING = re.compile(r"(?:[$*\s]|\\[(\[$])*+")
_CLOSERS = frozenset({r"\)", r"\]"})
_INNER = re.compile(r"(?<!\\)\\[,;!: ]|\\left\b|\\right\b|\\displaystyle")
_FULL_STOP = re.compile(r"(?<!\.)\.$")
_TEXT = re.compile(r"\\(?:text|textbf|mathrm|mathbf|mbox)\s*\{([^{}]*)\}")
_ARTICLE = re.compile(r"(?i)^(?:the|an?)\s+(?=\w{2})")
_TAIL = re.compile(r"(?:\s*(?:\\%|%|\^\s*\{?\s*\\circ\s*\}?|\\circ|°))+$")
_LETTERS = re.compile(
    r"(?:^|[\s,/&(])\(([A-J])\)|\s([A-J])[.)](?=\s|$)|\b(?:and|or|no,?)\s+\(?([A-J])\b|\b([A-J])\s+is\b", re.IGNORECASE
)
_NOT_THAT = re.compile(r"(?i),?\s*\(?\bnot\s+\(?[A-J]\)?.*$")
_CHOICE = re.compile(
    r"(?is)(?:(?:the\s+)?(?:correct\s+|final\s+)?(?:option|choice|answer)\b\s*(?:is\b)?\s*:?\s*)?[\[({]?([A-Z])[\])}]?"
    r"(?:\s*[.:)–—]\s*.*|\s+-\s.*|\s+is\s+(?:correct|right).*|,?\s*\(?not\s.*|)"
)
_SEVERAL = re.compile(r"\(?[A-J]\)?(?:(?:\s*[,;/&]\s*|\s+)(?:(?:and|&)\s+)?\(?[A-J]\)?|(?<=[A-J])[A-J])+")


def exact_number(text: str) -> Fraction | None:
    """The exact value of a written number (integer, decimal, fraction, power of ten), or None if it is none."""
    if len(text) > LONGEST_NUMBER:
        return None
    text = _TAIL.sub("", normal(text)).strip().lstrip("$")
    if match := _EXACT.fullmatch(text):
        return _scaled(match["mantissa"], match["e"])
    if match := _POWER.fullmatch(text):
        return _scaled(match["mantissa"] or "1", match["e"])
    if match := _FRACTION.fullmatch(text) or _SHORT_FRACTION.fullmatch(text) or _RATIO.fullmatch(text):
        bottom = _scaled(match["bottom"], None)
        top = _scaled(match["top"], None)
        return None if bottom == 0 else (-1 if match["sign"] == "-" else 1) * top / bottom
    return None


def normal(text: str) -> str:
    """The text without LaTeX wrapping and spacing that no answer depends on."""
    return trimmed(_TEXT.sub(r" \1 ", text.strip().replace(MINUS, "-")))


def trimmed(text: str) -> str:
    """The text without wrapping and spacing around it; what LaTeX sets as words stays that."""
    text = _INNER.sub("", text[_OPENING.match(text).end() : _closing(text)])  # type: ignore[union-attr]
    # One full stop ends a sentence; three go on with the digits before them.
    text = _FULL_STOP.sub("", text.strip())
    return " ".join(text[: _closing(text)].split())


def _closing(text: str) -> int:
    """Where the wrapping begins that ends a text; one step a character, whatever the text holds."""
    end = len(text)
    while end:
        if text[end - 1] in "$* \n\t\r":
            end -= 1
        elif text[end - 2 : end] in _CLOSERS:
            end -= 2
        else:
            break
    return end


def choice(text: str) -> str | None:
    """The one letter that a choice is ("B", "(b)", "B. Paris"), upper case, or None if it is not just one."""
    text = normal(text)
    match = _CHOICE.fullmatch(text)
    if match is None:
        return None
    others = {letter.upper() for found in _LETTERS.findall(_NOT_THAT.sub("", text[match.end(1) :])) for letter in found}
    return None if others - {match[1].upper(), ""} else match[1].upper()


def choices(text: str) -> frozenset[str]:
    """The letters of an answer that chooses several ("A, C", "BD"); one letter, or none, is not several."""
    text = normal(text)
    return frozenset(re.findall(r"[A-J]", text)) if _SEVERAL.fullmatch(text) else frozenset()


def same_text(a: str, b: str) -> bool:
    """Whether two texts are the same but for case, spacing and quotes around them."""
    return folded(a) == folded(b)


def _scaled(mantissa: str, exponent: str | None) -> Fraction:
    return Fraction(mantissa.replace(",", "")) * Fraction(10) ** int(exponent or 0)


def folded(text: str) -> str:
    """The text as it is compared: without case, spacing and quotes around it."""
    text = unicodedata.normalize("NFC", _ARTICLE.sub("", normal(text))).replace("’", "'").replace("‘", "'")
    return text.strip("\"'`“” ").casefold()
