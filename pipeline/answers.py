r"""Take the final answer out of a reply, and compare it with the gold answer where that needs no algebra.

Only the reply after the thought is looked at. The last `\boxed{}` counts; when it is cut off there
is no answer, however many complete boxes stand before it. Without a box, an answer that is plainly stated counts.
"""

import re
from fractions import Fraction

_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_INTRODUCED = re.compile(
    r"""(?ix)
    ^[*_>\s-]*(?:\#{4}|(?:the\s)?(?:final\s|correct\s)?answer\s?[:=]|A\s?:)
    | \banswer\s(?:is|would\sbe|should\sbe)\b\s?:?
    """
)
_NUMBER = r"[-+]?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|[-+]?\.\d+"
_PLAIN_NUMBER = re.compile(rf"(?<![\w.])(?:{_NUMBER})(?![\w]|\.\d)")
_WITH_UNIT = re.compile(rf"(?P<number>{_NUMBER})\s+[A-Za-z]{{2,}}[A-Za-z .'/-]*")
_SENTENCE_END = re.compile(r"[.!?]\**\s+(?=[A-Z*])")
_QUOTES = "\"“”'‘’`*"
# The look-behind keeps a long run of quotes from being tried at each of them.
_QUOTED = re.compile(rf"(?<![{_QUOTES}])[{_QUOTES}]+([^\s{_QUOTES}]+)[{_QUOTES}]+")
_ENDS_QUOTED = re.compile(rf"(?:\bis|:)\s*[{_QUOTES}]+[^\s{_QUOTES}]+[{_QUOTES}]+\.?$")
_CHOICE = re.compile(r"\(?([A-Za-z])\)?(?:[.:)]\s.*)?")
# After a number these make another number, or no answer, of it; other words are units.
_NO_UNIT = re.compile(
    r"(?i)\b(?:pi|thousand|million|billion|trillion|hundred|dozen|half|less|more|fewer|than|or|and|to|plus|minus|over"
    r"|squared|cubed|root|mod)\b"
)
# A last line with any of these says more than one number.
_UNSURE = re.compile(
    r"(?i)[+*/^_<>\\×÷≤≥≈]|\d\s*[x-]\s*[\dx]|\b(?:not|no|or|less|more|fewer|than|about|approximately|around|nearly|almost"
    r"|between|least|most|maybe|perhaps|guess|tries|try|give\s+up|can't|cannot|unsure|thousand|million|billion|dozen)\b|n't"
)
_MINUS = "\N{MINUS SIGN}"
LONGEST_NUMBER = 1000
_EXACT = re.compile(rf"(?P<mantissa>{_NUMBER})(?:e(?P<e>[-+]?\d{{1,4}}))?", re.IGNORECASE)
_FRACTION = re.compile(rf"(?P<sign>[-+]?)\\[dt]?frac\s*\{{(?P<top>{_NUMBER})\}}\s*\{{(?P<bottom>{_NUMBER})\}}")
_SHORT_FRACTION = re.compile(r"(?P<sign>[-+]?)\\[dt]?frac\s*(?P<top>\d)\s*(?P<bottom>\d)")
_RATIO = re.compile(rf"(?P<sign>)(?P<top>{_NUMBER})\s*/\s*(?P<bottom>{_NUMBER})")
_POWER = re.compile(
    rf"(?:(?P<mantissa>{_NUMBER})\s*(?:\\times|\\cdot|\*|x)\s*)?10\s*\^\s*\{{?(?P<e>[-+]?\d{{1,4}})\}}?"
)
_WRAPPING = re.compile(r"^[$*]+|[$*]+$|^\\\(|\\\)$|^\\\[|\\\]$|^\\\$|\\[,;!: ]|\\left|\\right|\\displaystyle")
_TEXT = re.compile(r"\\(?:text|textbf|mathrm|mathbf|mbox)\s*\{([^{}]*)\}")
_TAIL = re.compile(r"(?:\s*(?:\\%|%|\^\s*\{?\s*\\circ\s*\}?|\\circ|°))+$")


def final_answer(reply: str, *, kind: str, gold: str) -> str | None:
    """The answer that the reply ends on, or None when it states none (or its last box is cut off)."""
    reply = reply.replace(_MINUS, "-")
    boxes = list(_BOX.finditer(reply))
    if boxes:
        return _inside(reply, boxes[-1].end())
    lines = [" ".join(line.split()) for line in reply.splitlines() if line.strip()]
    for line in reversed(lines):
        introduced = list(_INTRODUCED.finditer(line))
        if introduced and (answer := line[introduced[-1].end() :].strip()):
            return _stated(answer, kind=kind)
    if kind == "text" and len(lines) == 1 and not _QUOTED.search(lines[0]):
        # A reply of one line is its answer, however many words that has.
        return normal(lines[0])
    return _plain(lines[-1], kind=kind, gold=gold) if lines else None


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
    text = _TEXT.sub(r" \1 ", text.strip().replace(_MINUS, "-"))
    before = None
    while before != text:
        before = text
        text = _WRAPPING.sub("", text).strip().rstrip(".").strip()
    return " ".join(text.split())


def choice(text: str) -> str | None:
    """The one letter that a choice is ("B", "(b)", "B. Paris"), upper case, or None if it is not just one."""
    match = _CHOICE.fullmatch(normal(text))
    return match[1].upper() if match else None


def same_text(a: str, b: str) -> bool:
    """Whether two texts are the same but for case, spacing and quotes around them."""
    return _folded(a) == _folded(b)


def _inside(text: str, start: int) -> str | None:
    depth = 1
    for end in range(start, len(text)):
        if text[end] in "{}" and text[end - 1] != "\\":
            depth += 1 if text[end] == "{" else -1
            if depth == 0:
                return text[start:end].strip() or None
    return None


def _stated(answer: str, *, kind: str) -> str:
    answer = normal(answer)
    if kind == "text":
        quoted = _QUOTED.findall(answer)
        return str(quoted[-1]) if quoted else answer
    answer = normal(_SENTENCE_END.split(answer, maxsplit=1)[0])
    # "18 dollars per day" states 18; "3x + 2" or "x + 3" are left for the algebra.
    unit = _WITH_UNIT.fullmatch(answer.lstrip("$"))
    return unit["number"] if unit and not _NO_UNIT.search(answer) else answer


def _plain(line: str, *, kind: str, gold: str) -> str | None:
    """What the last line says without any introduction; None when that could be more than one thing."""
    bare = normal(line)
    if kind == "choice":
        return choice(bare)
    if kind == "text":
        quoted = _QUOTED.findall(line)
        if len(set(quoted)) > 1 and not _ENDS_QUOTED.search(line):
            return None
        return str(quoted[-1]) if quoted else bare if " " not in bare else None
    if exact_number(bare) is not None:
        return bare
    if exact_number(gold) is None:
        return None
    if "=" in line:
        said = normal(line.rpartition("=")[2])
        return said if exact_number(said) is not None else None
    if _UNSURE.search(line):
        return None
    # One number in the last line is what it says; two different ones could be right by luck.
    numbers = set(_PLAIN_NUMBER.findall(line))
    return str(numbers.pop()) if len(numbers) == 1 else None


def _scaled(mantissa: str, exponent: str | None) -> Fraction:
    return Fraction(mantissa.replace(",", "")) * Fraction(10) ** int(exponent or 0)


def _folded(text: str) -> str:
    return normal(text).strip("\"'`“”‘’ ").casefold()
