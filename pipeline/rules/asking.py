r"""Whether a text asks for a value that can be compared with a gold answer.

proof, open_ended and multi_part need it: "Prove that x is even and find y" has an answer, "Prove it" has none.
"""

import re
from collections.abc import Iterator

BEGINS = (
    r"(?:^|[.;:!?)\]}\n$,*]\s*|\\\\\s*"
    r"|\b(?:and|then|hence|also|thus|please|therefore|or|so|now|first|can\s+you|to|we|you)\s+)"
)
"""Where a sentence, a formula or a part such as "(a)" ends, and an order may begin."""

_HOW_MUCH = (
    r"how\s+(?:many|much|long|far|old|tall|high|wide|deep|big|large|small|fast|often|heavy|late|early|soon"
    r"|close|likely"
    r"|\w+er)\b"
)
_ORDER = re.compile(
    rf"""(?imx)
    {BEGINS}(?<!how\ to\ )(?<!how\ you\ )(?<!how\ we\ )
    (?:find(?!\s+(?:a|the)\s+proof) | determine(?!\s+whether\b) | compute | calculate | evaluate
      | solve(?!\s+it\b) | simplify
    | factor(?:i[sz]e)?\b | convert\b | round\b | estimate | expand | work\s+out | figure\s+out | count\b | fill\s+in
    | complete\s+the | express | rewrite | write\s+(?:[^\s.]+\s+){{0,12}}?(?:as\s+(?:an?|the)
      |in\s+(?:the\s+form|terms|an?|simpl|lowest|standard|scientific|interval|base))\b | enter | list\b | name\s+the
    | give\s+(?:the|your|all|a\s+formula) | state\s+(?:the|your\s+answer)
    | in\s+how\s+many | for\s+(?:which|what|how\s+many) | {_HOW_MUCH})
    """
)
_OPEN_QUESTION = re.compile(
    r"(?i)\bwhy\b|\bhow\s+(?:do|does|did|can|could|would|should|might|is|are|was|were|to)\b(?![^?]*\b(?:many|much)\b)"
    r"|\bwhat\s+(?:do|would|did)\s+(?:you|they|we)\s+(?:think|say|notice|conclude|expect)\b"
    r"|\bdo\s+you\s+(?:think|agree|like|prefer|believe)\b|\bwhen\s+would\s+you\b|\bwhat\s+can\s+(?:you|we"
    r"|be)\s+(?:say|said|conclude)"
    r"|\bwhat\s+(?:is|are)\s+(?:some|your\s+(?:opinion|thoughts|view)"
    r"|the\s+(?:advantages?|benefits?|reasons?|importance|significance|role|purpose|meaning|implications?))\b"
)
_ENDS_SENTENCE = re.compile(r"[!\n\u3002;]|\.(?!\d)")
_ASKED = re.compile(r"[^?\uff1f]+(?=[?\uff1f])")
_LONGEST_QUESTION = 400
_BLANK = re.compile(
    r"_{3,}|\\underline\s*\{\s*(?:\\[A-Za-z]+\s*)?\}|\\(?:square|Box)\b|\\boxed\s*\{\s*\}|\(\s{2,}\)"
    r"|[=\N{RIGHTWARDS ARROW}]\s?\??\s?\$*\s*\Z"
)
_FOREIGN = re.compile(
    r"\u6c42(?!\u8bc1)|\u591a\u5c11|\u51e0|\u7b49\u4e8e|\u4e3a\s?[_(\uff08]"
    r"|(?i:\b(?:\u043d\u0430\u0439\u0434\u0438\u0442\u0435|\u0441\u043a\u043e\u043b\u044c\u043a\u043e"
    r"|\u0432\u044b\u0447\u0438\u0441\u043b\u0438\u0442\u0435"
    r"|halla|encuentra|calcula|determina|cu\u00e1nt[oa]s?|trouve[rz]?|calcule[rz]?|d\u00e9termine[rz]?|combien"
    r"|bestimmen?|berechnen?|wie\s+viele?)\b)"
)


def asks_value(text: str) -> bool:
    """Whether a text orders or asks something whose answer can be compared."""
    if _ORDER.search(text) or _BLANK.search(text):
        return True
    if any(not _OPEN_QUESTION.search(question) for question in _questions(text)):
        return True
    return not text.isascii() and _FOREIGN.search(text) is not None


def open_question(text: str) -> str | None:
    """The first question of a text that asks why or how, or for an opinion."""
    return next((question for question in _questions(text) if _OPEN_QUESTION.search(question)), None)


def _questions(text: str) -> Iterator[str]:
    """What stands before each question mark, from where its sentence begins."""
    if "?" in text or "\uff1f" in text:
        for match in _ASKED.finditer(text):
            before = match.group()[-_LONGEST_QUESTION:]
            ends = [found.end() for found in _ENDS_SENTENCE.finditer(before)]
            # A mark right behind a sentence's end, as in "1 + 1 = . ?", asks with all that is before it.
            question = before[ends[-1] :].strip() if ends else before.strip()
            yield question or before
