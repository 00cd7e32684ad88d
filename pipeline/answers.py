r"""Take the final answer out of a reply.

Only the reply after the thought is looked at. The last `\boxed{}` counts, with the boxes that stand beside it; when it
is cut off there is no answer, however many complete boxes stand before. Without a box, an answer that is plainly
stated counts. A reply that ends on two different answers has two, and both must be right.
"""

import itertools
import re

from pipeline.prompts import after_thought
from pipeline.written import MINUS, NUMBER, choice, exact_number, normal, trimmed

_BOX = re.compile(r"\\(?:boxed|fbox|framebox)\b\s*(?P<brace>\{)?")
_BETWEEN_BOXES = re.compile(
    r"(?:[\s$,;&*]|\\[()\[\],;: ]|\\q?quad|\b(?:and|or)\b|\\(?:text|mbox)\s*\{\s*,?\s*(?:and|or|,)?\s*\}"
    r"|\b[A-Za-z](?:_\d)?\s*=|\\\\)*+"
)
_BARE_BOX = re.compile(r"-?\d+(?:\.\d+)?|\\[A-Za-z]+(?:\s*\{[^{}]*\})*|\w")
_LONGEST_BETWEEN = 60
LONGEST = 4000
"""Characters; a longer answer is judged by nobody."""
_NEGATED = re.compile(r"(?:[=$(\[:]|\bis)\s*-(?:\s|\\,|\$)*$|(?:^|\s)-(?:\\,|\$)*$")
# A box is a part of a formula, or denied: 2\boxed{5}, \boxed{5}^2, x > \boxed{5}, not \boxed{5}.
_BEFORE_BOX = re.compile(
    r"(?i)(?:\d|[\^_/+<>≠×·!]\s*\{?|[\d)}]\s*-\s*|\\(?:times|cdot|ne|neq|lt|gt|le|ge|leq|geq|not|sqrt|pm)\b\s*\{?"
    r"|\\[dt]?frac\s*(?:\{[^{}]*\}\s*)?\{\s*|\b(?:not|isn't|never|minus|negative|than)\s*[:$*]*\s*)$"
)
_AFTER_BOX = re.compile(
    r"(?i)(?:\d|!|/|\.\d|_|\^(?!\s*\{?\s*\\circ)|\s*\\(?:times|cdot|pmod|bmod)\b|\s*[+*-]\s*[\d\\(]"
    r"|\$?\s*(?:million|billion|thousand|hundred|dozen)s?\b|\$?\s+is\s+(?:false|wrong|incorrect|not)\b)"
)
_TAIL_CHARACTERS = 4000
_INTRODUCED = re.compile(
    r"""(?ix)
    ^[*_>\s\#-]*
      (?:\#{4}|A\s?:|(?:so\s|thus\s|hence\s)?(?:my\s|the\s)?(?:final\s|correct(?:ed)?\s|revised\s|updated\s|actual\s)?
      (?:answer|option|choice|result)\s?\**\s?[:=])
    | \#{4}\s
    | (?<=[.!?])\s+(?:final\s|corrected\s|revised\s)?answer\s?[:=]
    | \b(?:answers?|results?|solutions?|(?:correct|best|right)\ (?:option|choice)|(?:option|choice)\ is)\b
      (?:\sto\s(?:the|this)\s\w+)?\s(?:is|are|would\sbe|should\sbe|must\sbe|comes\sto|equals)\b
      \s?(?:therefore|thus|then|simply|just|option|choice|equal\sto)?\s?:?
    """
)
_PLAIN_NUMBER = re.compile(rf"(?<![\w.])(?:{NUMBER})(?![\w]|\.\d)")
_WITH_UNIT = re.compile(rf"(?P<number>{NUMBER})\s+[A-Za-z]{{2,}}[A-Za-z .'/-]*")
_SENTENCE_END = re.compile(r"[.!?]\**\s+(?=[A-Z*])")
_REASON = re.compile(r",?\s(?:that\s+is\b,?|i\.e\.|because|since|as\s+(?:we|the|it|shown)|which|where|so\s+that)\b")
_SEGMENT = re.compile(r"\$\$?([^$]{1,500})\$\$?|\\\((.{1,500}?)\\\)|\\\[(.{1,500}?)\\\]")
_QUOTES = "\"“”'‘’`*"
# The look-behind keeps a long run of quotes from being tried at each of them.
_QUOTED = re.compile(rf"(?<![{_QUOTES}])[{_QUOTES}]+([^\s{_QUOTES}]+)[{_QUOTES}]+")
_ENDS_QUOTED = re.compile(rf"(?:\bis|:)\s*[{_QUOTES}]+[^\s{_QUOTES}]+[{_QUOTES}]+\.?$")
# After a number these make another number, or no answer, of it; other words are units.
_NO_UNIT = re.compile(
    r"(?i)\b(?:pi|(?:thousand|million|billion|trillion|hundred|dozen|ten|pair|score)(?:th)?s?|half|halves|gross|grand|less|more|fewer|than|or|and|to|plus|minus|over"
    r"|squared|cubed|root|mod)\b"
)
# A last line with any of these says more than one number.
_UNSURE = re.compile(
    r"(?i)[+*/^_<>\\×÷≤≥≈]|\d\s*[x-]\s*[\dx]|[A-Za-z)]\s*-\s*\d|\b(?:not|no|or|less|more|fewer|than|about|approximately|around|nearly|almost"
    r"|between|least|most|maybe|perhaps|guess|tries|try|give\s+up|see|page|problem|chapter|figure|example|equation|theorem|step|doubt|says|said|claims|sorry|error|only|questions?|suppose|assum\w+|if|unless|contradiction|can't|cannot|unsure|thousand|million|billion|dozen)\b|n't"
)
_TAKEN_BACK = re.compile(
    r"(?i)\b(?:mistake|correction|actually|it\s+should\s+be|but\s+wait)\b[^\n]{0,200}(?:\d|\bit(?:'s|\s+is)\b)|\b(?:that|this|it)\s+(?:cannot|can't|can\s+not|is\s+not|isn't|was)\s+(?:be\s+)?(?:right|correct|wrong)\b"
    r"|\b(?:could\s+not|cannot|can't|couldn't)\s+find\s+(?:the|an)\s+answer"
)
# Before an answer these say that it is none; behind it, that it is taken back.
_ASKED = re.compile(r"^[^.!?]{0,80}\?")
_SUPPOSED = re.compile(
    r"(?i)\b(?:not|never|doubt|says|said|claims|suppose|assum\w+|if|incorrect|wrong|unless|cannot)\b[^.!?]*$|n't\b[^.!?]*$"
)
_WERE = re.compile(r"(?i)\b(?:were|unless|but)\b[^.]*\b(?:not|also|it|could|might|or)\b")
_REVISED = re.compile(
    r"(?i)\b(?:wait|hmm+|actually|correction|scratch\s+that|sorry|not\s+sure|could\s+also|my\s+mistake)\b|\bno,\s"
)
_TAGGED = re.compile(r"(?s)<answer>\s*([^<>]{1,2000}?)\s*</answer>")
_CALCULATED = re.compile(r"<<[^<>]{0,200}>>")
_NOT_OTHER = re.compile(r",\s+not\s.*$", re.DOTALL)
_LABELLED = re.compile(r"(?i)[*_\s]*(?:final\s+|corrected\s+)?answer\s*\**\s*:")
_SENTENCE = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}\s+[A-Za-z]{2,}|[.!?]\s")
_WORDS_IN_TEXT = re.compile(r"\\(?:text|mbox|mathrm|begin|end)\s*\{[^{}]*\}")
_BOLD = re.compile(r"(?<![\w)])\*\*(?=\S)([^*\n]{1,500})\*\*(?![\w(])")
_BULLET = re.compile(r"^(?:[-*•]|\d+[.)])\s+(?=\S)")
_FENCE = re.compile(r"(?m)^\s*```\w*\s*$")
_CHOSEN = re.compile(
    r"(?i:choose|choice|option|select|pick|answer)\b[^.A-Z]{0,40}?\s\(?([A-J])(?:\)?[.*]*$|:\s)"
    r"|(?:^|(?i:option|choice|answer)\s|[\s(])\(?([A-J])\)?\s(?i:is\s(?:the\s)?(?:correct|right|best))"
    r"|(?i:^\W*(?:it(?:'|\s)?i?s|so|therefore|thus|hence),?\s)\(?([A-J])\)?[.*]*$"
)
_DENIED = re.compile(r"(?i)\b(?:not|cannot|incorrect|wrong)\b|n't|\bno\b|\bor\b|\bneither\b|\?")
_DOUBT = re.compile(r"(?i)\b(?:not|no|or|about|approximately|around|maybe|perhaps|guess|cannot|unsure|if)\b|n't|\?")


class Unclear(ValueError):
    """The reply says an answer in a way that leaves open whether it is meant; the message says how."""


def final_answers(reply: str, *, kind: str, gold: str) -> list[str]:
    """The answers that the reply ends on; none when it states none or its last box is cut off, two when it ends on two
    different ones. Raises Unclear where the last answer may not be meant as it stands."""
    reply = after_thought(reply).replace(MINUS, "-")
    if tagged := _TAGGED.findall(reply[-_TAIL_CHARACTERS:]):
        reply = tagged[-1] if _BOX.search(tagged[-1]) else f"The answer is {tagged[-1]}"
    boxes = list(_BOX.finditer(reply))
    if not boxes:
        stated = _without_box(reply[-_TAIL_CHARACTERS:], kind=kind, gold=gold)
        return [] if stated is None else [stated]
    boxed, end = _boxed(reply, boxes)
    if boxed is None:
        return []
    tail = reply[end:][-_TAIL_CHARACTERS:]
    if _TAKEN_BACK.search(tail):
        raise Unclear("what follows the box takes it back")
    after = _stated_after(tail, kind=kind, gold=gold)
    return [boxed] if after is None or len(boxed) > LONGEST or normal(after) == normal(boxed) else [boxed, after]


def _boxed(reply: str, boxes: list[re.Match[str]]) -> tuple[str | None, int]:
    """What the last box holds, together with those that only a comma or a word parts from it, and where it ends."""
    last, end = _inside(reply, boxes[-1])
    if last is None:
        return None, end
    together, start = [last], boxes[-1].start()
    for box in reversed(boxes[:-1]):
        inside, closed = _inside(reply, box)
        between = reply[closed:start]
        if inside is None or closed > start or len(between) > _LONGEST_BETWEEN or not _BETWEEN_BOXES.fullmatch(between):
            break
        together.insert(0, inside)
        start = box.start()
    before = reply[max(0, start - 40) : start]
    negated = _NEGATED.search(before)
    if (not negated and _BEFORE_BOX.search(before)) or _AFTER_BOX.match(reply[end : end + 40]):
        raise Unclear("the box is a part of something: " + " ".join(reply[max(0, start - 20) : end + 15].split())[:80])
    if max(map(len, together)) > LONGEST or len({normal(inside) for inside in together}) == 1:
        return (f"-{last}" if negated else last), end
    return (" or " if "or" in reply[start:end].split() else ", ").join(together), end


def _inside(text: str, box: re.Match[str]) -> tuple[str | None, int]:
    if box["brace"] is None:
        # TeX takes one sign: \boxed 5 is a box around 5.
        bare = _BARE_BOX.match(text[box.end() : box.end() + 200])
        return (bare.group(), box.end() + bare.end()) if bare else (None, box.end())
    depth = 1
    for end in range(box.end(), len(text)):
        if text[end] in "{}" and text[end - 1] != "\\":
            depth += 1 if text[end] == "{" else -1
            if depth == 0:
                return _unwrapped(text[box.end() : end]) or None, end + 1
    return None, len(text)


def _unwrapped(inside: str) -> str:
    """A box in a box, and words such as `answer:` before the answer."""
    inside = inside.strip()
    if match := _BOX.match(inside):
        inner, end = _inside(inside, match)
        if inner is not None and end == len(inside):
            return inner
    return inside


def _stated_after(tail: str, *, kind: str, gold: str) -> str | None:
    """Another answer that is stated behind the box, if it is plainly one."""
    for line in reversed([" ".join(line.split()) for line in tail.splitlines() if line.strip()]):
        introduced = list(_INTRODUCED.finditer(line))
        if introduced and (answer := line[introduced[-1].end() :].strip()):
            stated = _stated(answer, kind=kind, gold=gold)
            if _is_answer(stated, kind=kind, line=line):
                return stated
    return None


def _is_answer(stated: str, *, kind: str, line: str) -> bool:
    """Whether what follows "the answer is" behind a box is an answer: "the answer is clear" has none."""
    if kind == "choice":
        return choice(stated) is not None
    if kind == "math":
        formula = len(stated) <= 80 and re.search(r"\d|\\|=", stated) and not _SENTENCE.search(stated)
        return exact_number(stated) is not None or bool(formula)
    return kind == "text" and len(stated) <= 80 and _LABELLED.match(line) is not None


def _without_box(reply: str, *, kind: str, gold: str) -> str | None:
    reply = _CALCULATED.sub("", _FENCE.sub("", _display_on_one_line(reply)))
    if kind != "text":
        reply = _BOLD.sub(r"\1", reply).replace(r"\$", "")
    lines = [" ".join(line.split()) for line in reply.splitlines() if line.strip()]
    for place in range(len(lines) - 1, -1, -1):
        introduced = list(_INTRODUCED.finditer(lines[place]))
        if not introduced:
            continue
        answer = lines[place][introduced[-1].end() :].strip(" *_")
        if _SUPPOSED.search(lines[place][: introduced[-1].end()]) or _WERE.search(answer):
            continue
        if _REVISED.search("\n".join([_after_sentence(answer), *lines[place + 1 :]])):
            raise Unclear("what follows the answer takes it back")
        if _ASKED.search(answer):
            raise Unclear("the answer is asked, not given")
        if answer.strip(" $:."):
            return _stated(lines[place][introduced[-1].end() :].strip(), kind=kind, gold=gold)
        if place + 1 < len(lines):
            return _below(lines[place + 1 :], kind=kind, gold=gold)
    if kind in ("text", "gym") and len(lines) == 1 and not _QUOTED.search(lines[0]):
        # A reply of one line is its answer, however many words that has.
        return normal(lines[0])
    if not lines:
        return None
    said = _plain(lines[-1], kind=kind, gold=gold, alone=len(lines) == 1)
    # A choice may come first and its reasons behind.
    return choice(lines[0]) if said is None and kind == "choice" else said


def _after_sentence(answer: str) -> str:
    parts = _SENTENCE_END.split(answer, maxsplit=1)
    return parts[1] if len(parts) > 1 else ""


def _below(lines: list[str], *, kind: str, gold: str) -> str:
    """What stands below "The answers are:": one line, or several with bullets."""
    bullets = list(itertools.takewhile(_BULLET.match, lines))
    if len(bullets) < 2 or kind != "math":
        return _stated(lines[0], kind=kind, gold=gold)
    return ", ".join(_stated(_BULLET.sub("", line), kind=kind, gold=gold) for line in bullets)


def _display_on_one_line(text: str) -> str:
    for opener, closer in ((r"\[", r"\]"), ("$$", "$$")):
        at = 0
        while (start := text.find(opener, at)) >= 0 and (end := text.find(closer, start + 2)) >= 0:
            text = text[:start] + text[start : end + 2].replace("\n", " ") + text[end + 2 :]
            at = end + 2
    return text


def _stated(answer: str, *, kind: str, gold: str) -> str:
    if kind in ("text", "gym"):
        answer = normal(answer)
        quoted = _QUOTED.findall(answer)
        return str(quoted[-1]) if quoted else answer
    answer = _SENTENCE_END.split(answer, maxsplit=1)[0]
    answer = _REASON.split(answer, maxsplit=1)[0]
    segments = [next(filter(None, groups)) for groups in _SEGMENT.findall(answer)]
    if len(segments) == 1 and not re.search(r"\d", _SEGMENT.sub("", answer)) and not _DOUBT.search(answer):
        answer = segments[0] + _unit_behind(answer)
    answer = _NOT_OTHER.sub("", trimmed(answer.replace("`", "")))
    if kind == "choice" or re.search(r"[A-Za-z$%]", gold):
        return answer
    # "18 dollars per day" states 18; "3x + 2" or "x + 3" are left for the algebra.
    unit = _WITH_UNIT.fullmatch(answer.lstrip("$"))
    return unit["number"] if unit and not _NO_UNIT.search(answer) else answer


def _unit_behind(answer: str) -> str:
    """The unit that follows a formula at once, when it is one word: $5$ cm."""
    behind = re.search(r"(?:\$|\\\)|\\\])\s*([A-Za-z]{1,12})\.?\**$", answer)
    return f" \\text{{{behind[1]}}}" if behind else ""


def _plain(line: str, *, kind: str, gold: str, alone: bool) -> str | None:
    """What the last line says without any introduction; None when that could be more than one thing."""
    bare = normal(line)
    if kind == "choice":
        return _chosen(bare)
    if kind in ("text", "gym"):
        quoted = _QUOTED.findall(line)
        if len(set(quoted)) > 1 and not _ENDS_QUOTED.search(line):
            return None
        return str(quoted[-1]) if quoted else bare if " " not in bare else None
    calculated = "=" in bare and exact_number(gold) is not None
    formula = alone and not calculated and not _SENTENCE.search(_WORDS_IN_TEXT.sub("", bare))
    if formula or exact_number(bare) is not None:
        return bare
    segments = [next(filter(None, groups)) for groups in _SEGMENT.findall(line)]
    if segments and not _DOUBT.search(_SEGMENT.sub("", line)):
        return _from_formula(line, segments)
    return _from_words(line) if exact_number(gold) is not None else None


def _chosen(line: str) -> str | None:
    """The letter that a line without any introduction chooses."""
    if choice(line) is not None:
        return choice(line)
    if _DENIED.search(line):
        return None
    letters = {match[1] or match[2] or match[3] for match in _CHOSEN.finditer(line)}
    return letters.pop() if len(letters) == 1 else None


def _from_formula(line: str, segments: list[str]) -> str | None:
    """The formula that a last line ends on or consists of."""
    rest = _SEGMENT.sub("", line).strip(" .*")
    ends = re.search(r"(?i)(?:\b(?:so|thus|hence|therefore|gives|is)\b|,)[^$\d]{0,30}$", _before_last_formula(line))
    if (len(segments) == 1 or (ends and len(segments) <= 3)) and not re.search(r"\d", rest):
        return trimmed(segments[-1].rpartition("=")[2])
    return None


def _before_last_formula(line: str) -> str:
    last = [match.start() for match in _SEGMENT.finditer(line)][-1]
    return line[:last]


def _from_words(line: str) -> str | None:
    line = line.replace("**", "").rpartition("=")[2]
    if exact_number(said := normal(line)) is not None:
        return said
    if _UNSURE.search(line):
        return None
    # One number in the last line is what it says; two different ones could be right by luck.
    numbers = set(_PLAIN_NUMBER.findall(line))
    return str(numbers.pop()) if len(numbers) == 1 else None
