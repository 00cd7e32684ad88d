"""Texts that end in the middle though the engine says that the model stopped by itself."""

import re

from pipeline.thoughts.words import shortened

_CUT_BEHIND = frozenset(",;=+({[<&")
# A text that ends on one of these words waits for the next; letters that may be names (a, i, to) are none of them.
_CUT_WORDS = re.compile(
    r"(?<![\w$\\])(?:the|an|of|and|or|we|with|for|from|that|because|which|where|since|their|its|whose|if)$"
)
_TAIL = 400
_FORMULA = re.compile(r"(?<!\\)\\([\[\]()])")
_BOX = re.compile(r"\\(?:boxed|fbox|framebox)\s*\{")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)


def cut_off(text: str) -> str | None:
    """Where a text breaks off, or None when it comes to an end; when in doubt it does."""
    text = text.rstrip()
    if not text:
        return None
    return _open_fence(text) or _open_box(text) or _open_formula(text) or _open_environment(text) or _mid_sentence(text)


def _open_fence(text: str) -> str | None:
    fences = sum(line.lstrip().startswith("```") for line in text.split("\n")) if "```" in text else 0
    return "a code block is open" if fences % 2 and text.count("```") % 2 else None


def _open_box(text: str) -> str | None:
    box = _BOX.match(text, max(0, text.rfind("\\boxed")))
    if box is None:
        return None
    depth = 1
    for brace in _BRACE.finditer(text, box.end()):
        depth += {"{": 1, "}": -1}.get(brace.group(), 0)
        if depth == 0:
            return None
    return f"a box is open: {shortened(text[box.start() : box.start() + 50])}"


def _open_formula(text: str) -> str | None:
    r"""An \[ or \( near the end that nothing closes; dollars may be money."""
    marks = _FORMULA.findall(text, max(0, len(text) - _TAIL))
    return f"a formula is open: {_end(text)}" if marks and marks[-1] in "[(" else None


def _open_environment(text: str) -> str | None:
    begun = text.rfind("\\begin{")
    ended = begun < 0 or text.find("\\end{", begun) >= 0
    return None if ended else f"an environment is open: {_end(text)}"


def _mid_sentence(text: str) -> str | None:
    tail = text[-_TAIL:]
    if _BOX.search(tail[-60:]):
        # What stands so near the end is a whole answer; a comma behind it does no harm.
        return None
    if tail[-1] in _CUT_BEHIND or _CUT_WORDS.search(tail):
        return f"ends in the middle: {_end(text)}"
    return None


def _end(text: str) -> str:
    return f'"...{" ".join(text[-50:].split())}"'
