"""The form of a reply: tags and roles that no reply shows, boxes, refusals, and talk of a solution that was given."""

import re
from collections.abc import Iterator

from pipeline.thoughts.words import shortened
from pipeline.written import exact_number, normal

_TAG = re.compile(
    r"</?(?:think|thinking|thought|thoughts|reasoning|reflection|scratchpad)>"
    r"|<\|[A-Za-z][\w /-]{2,40}\|>|<\uff5c[^\uff5c\n]{1,40}\uff5c>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>",
    re.IGNORECASE,
)
_ROLE = re.compile(
    r"^[ \t>*#_]{0,8}(?:User|Assistant|Human)[*_]{0,3}[ \t]?:|^#{2,4} (?:Instruction|Response|Input):?[ \t]*$",
    re.MULTILINE,
)
_DECLINED = re.compile(
    r"\b(?:as an ai\b|as a(?: large)? language model\b|i(?:'m| am) (?:just |only )?an ai\b"
    r"|i(?:'m| am) (?:sorry|afraid),? (?:but )?(?:that )?i (?:can't|cannot|can not|am unable|am not able|won't)"
    r"|i(?:'m| am)? (?:can't|cannot|can not|unable to|not able to) (?:assist|help|comply|fulfill)\b)"
    r"|作为(?:一个|一名)?(?:ai|人工智能|大?语言模型)|很抱歉[,，]我(?:无法|不能)"
)
_DECLINED_HAS = ("as a", "an ai", "sorry", "afraid", "assist", "help", "comply", "fulfill", "作为", "抱歉")
_GIVEN = r"(?:reference|provided|official|given|gold|golden|ground[- ]truth|expected|supplied|sample|model|original)"
_TALKS = r"(?:says|states|claims|mentions|concludes|suggests|indicates|arrives|confirms|matches|uses|reads)"
_FOLLOWS = r"(?:match(?:es|ing)?|agree(?:s|ing)? with|consistent with|according to|as in|follow(?:s|ing)?|based on|per)"
_LEAKED = re.compile(
    r"\b(?:reference|ground[- ]truth|gold|golden|provided|supplied) answer\b(?! (?:choice|option|format|box|space))"
    rf"|\bth(?:e|is) {_GIVEN} (?:answer|solution)(?:'s)? {_TALKS}\b"
    r"|\b(?:reference|ground[- ]truth|gold|official) solution\b"
    rf"|\b{_FOLLOWS} the {_GIVEN} (?:answer|solution)\b"
    r"|\b(?:according to|checking with|looking at|look at|in) the (?:answer key|solution manual)\b"
    r"|\b(?:told|given) (?:that )?the (?:correct |final |right |expected )?answer"
    r" (?:is|should be|was|to be) (?:\$|\\boxed\{|\\\()?-?\d"
    r"|\bthe (?:correct |final )?answer (?:i was|that was|i am|i'm) (?:given|told|provided)\b"
    r"|参考(?:答案|解答|解法)|(?:给定|提供|所给|给出)的(?:标准)?(?:答案|解答)(?:是|为|说|中|一致|相符)"
)
# Each leak names one of these; they are looked for first, and the rest around them.
_NOUNS = ("answer", "solution", "答案", "解答", "解法")
_BEFORE, _BEHIND = 60, 40
_BOX = re.compile(r"\\(?:boxed|fbox|framebox)\s*\{")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_BESIDE = re.compile(
    r"[\s$,;&.()]*(?:(?:and|or|\\text\s*\{[^{}]{0,20}\}|\\q?quad|\\\\|[A-Za-z]\s*=|\\[,;:() \[\]])[\s$,;&.()]*)*"
)
_LONGEST_BESIDE = 60
_NAMED = re.compile(r"^[A-Za-z](?:_\{?\w{1,3}\}?)?(?:\([A-Za-z]\))?\s*(?:=|\\in\b)\s*")
_TO_NOTHING = re.compile(
    r"\s|\\(?:text|mathrm|mbox|textbf)\b|\\[,;:! ]|[{}$]|\\left|\\right|(?<=\\)[dt](?=frac)|^=|[.,;]$"
)


_IN_BRACKETS = re.compile(r"\(([0-9.,/ -]+?)\s*\)")


def leftover_tags(text: str) -> str | None:
    """The first tag of a thought, a chat template or a role that was left in a text."""
    match = _TAG.search(text) if "<" in text or "[" in text else None
    return shortened(match.group()) if match else None


def role_markers(text: str) -> str | None:
    """The first line that gives the word to a user or an assistant."""
    match = _ROLE.search(text)
    return shortened(text[match.start() : match.start() + 60]) if match else None


def declined(lower: str) -> str | None:
    """The words by which a model refuses or speaks of itself; `lower` in lower case."""
    match = _DECLINED.search(lower) if any(part in lower for part in _DECLINED_HAS) else None
    return None if match is None else _around(lower, match)


def leaked_answer(lower: str, *, prompt: str) -> str | None:
    """The words that tell of a solution or answer that was given, unless the problem has them; both in lower case."""
    for start, stop in _near_nouns(lower):
        for match in _LEAKED.finditer(lower, start, stop):
            if match.group() not in prompt:
                return _around(lower, match)
    return None


def _near_nouns(lower: str) -> Iterator[tuple[int, int]]:
    """The stretches around the nouns that a leak names; those that touch are one."""
    start = stop = 0
    for noun in _NOUNS:
        at = lower.find(noun)
        while at >= 0:
            if at - _BEFORE > stop or at < start:
                yield start, stop
                start = max(0, at - _BEFORE)
            stop = at + _BEHIND
            at = lower.find(noun, at + len(noun))
    yield start, stop


def no_box(reply: str) -> str | None:
    r"""What a reply without \boxed ends on."""
    return None if _BOX.search(reply) else f"ends on {shortened(reply[-50:])}"


def boxes_differ(reply: str) -> str | None:
    """Two boxes of a reply that hold different answers and don't stand side by side as parts of one."""
    boxes = _boxes(reply) if reply.count("box") > 1 else []
    if len(boxes) < 2:
        return None
    last = [boxes[-1]]
    for box in reversed(boxes[:-1]):
        between = reply[box[1] : last[0][0]]
        if len(between) > _LONGEST_BESIDE or not _BESIDE.fullmatch(between):
            break
        last.insert(0, box)
    whole = {_bare(inside) for _, _, inside in last}
    parts = whole | {_bare(part) for _, _, inside in last for part in re.split(r",|;|\bor\b|\band\b|=", inside)}
    for _, _, inside in boxes[: -len(last)]:
        if _bare(inside) not in parts and not whole & {_bare(part) for part in re.split("=", inside)}:
            return f"{shortened(inside)} and {shortened(last[-1][2])}"
    return None


def _boxes(reply: str) -> list[tuple[int, int, str]]:
    """Start, end and content of every closed box that is in no other."""
    found: list[tuple[int, int, str]] = []
    for match in _BOX.finditer(reply):
        if found and match.start() < found[-1][1]:
            continue
        depth = 1
        for brace in _BRACE.finditer(reply, match.end()):
            depth += {"{": 1, "}": -1}.get(brace.group(), 0)
            if depth == 0:
                found.append((match.start(), brace.end(), reply[match.end() : brace.start()]))
                break
        else:
            break
    return found


def _bare(inside: str) -> str:
    """What a box holds as it is compared: the exact number, or the text without wrapping, spaces and `x =`."""
    inside = normal(_NAMED.sub("", normal(inside)))
    if match := _IN_BRACKETS.fullmatch(inside):
        inside = match[1]
    number = exact_number(inside)
    return str(number) if number is not None else _TO_NOTHING.sub("", inside).casefold()


def _around(text: str, match: re.Match[str]) -> str:
    return shortened(text[max(0, match.start() - 10) : match.end() + 30])
