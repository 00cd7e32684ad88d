r"""A prompt and an answer without what their source put around them. Mathematics is never changed.

Taken away: HTML, characters that nobody sees, "Problem 3.", "(5 points)", "[AIME 2020]", "Please reason step by step",
the box and the dollar signs around an answer. Put right: LaTeX commands that a wrong reading of escapes destroyed, such
as a form feed and "rac" for \frac. A clean text comes back as the same object.
"""

import html
import re
import unicodedata

_WHOLE = frozenset({"math", "text", "choice"})
"""The kinds whose prompts are prose: a program, a generated task or a conversation keeps every character."""

# A Python or JSON reader took \f, \b, \t, \a, \v, \r before these letters for one control character.
_DESTROYED = (
    (re.compile(r"\x0c(?=rac\b|rac\{|orall|lat|loor)"), r"\\f"),
    (re.compile(r"\x08(?=eta|ar\b|ar\{|inom|oxed|egin\{|ig|f\{|ullet|mod|ackslash)"), r"\\b"),
    (re.compile(r"\t(?=imes(?![a-z])|heta(?![a-z])|ext\{|frac\{|riangle(?![a-z]))"), r"\\t"),
    (re.compile(r"\x07(?=lpha|ngle|pprox)"), r"\\a"),
    (re.compile(r"\x0b(?=ec\{|ec\b|arphi|arepsilon)"), r"\\v"),
    (re.compile(r"\r(?=ight(?:arrow)?(?![a-z])|ho(?![a-z]))"), r"\\r"),
)
_ODD = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\xa0\xad\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u2064\u2066-\u2069\u3000\ufeff]"
)
# What Windows-1252 has where Latin-1 has control characters.
_WINDOWS = {0x85: "...", 0x91: "\u2018", 0x92: "\u2019", 0x93: "\u201c", 0x94: "\u201d", 0x96: "\u2013", 0x97: "\u2014"}
_SPACES = dict.fromkeys([0xA0, 0x1680, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000], " ")
_LINES = {0x0D: "\n", 0x0B: "\n", 0x0C: "\n", 0x2028: "\n", 0x2029: "\n"}
_UNSEEN = dict.fromkeys(
    [*range(9), *range(0x0E, 0x20), *range(0x7F, 0xA0), 0xAD, 0x180E, 0x200B, 0x200E, 0x200F, *range(0x202A, 0x202F),
     *range(0x2060, 0x2065), *range(0x2066, 0x206A), 0xFEFF]
)  # fmt: skip
_TABLE: dict[int, str | None] = {**_UNSEEN, **_WINDOWS, **_SPACES, **_LINES}
# Joiners are letters' business in these scripts and emoji; elsewhere nobody sees them.
_JOINERS = re.compile("(?<![\u0590-\u0dff\u2600-\u27bf\ufe0f\U0001f000-\U0001faff])[\u200c\u200d]")

_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_ATTRIBUTES = r"(?:\s+[A-Za-z-]{1,20}\s*=\s*(?:\"[^\"<>]{0,200}\"|'[^'<>]{0,200}'|[\w#%-]{1,40})){0,6}"
_BREAK = re.compile(
    rf"(?i)[ \t]*<(?:br|p|div|li|tr|h[1-6]){_ATTRIBUTES}\s*/?>[ \t]*|[ \t]*</(?:p|div|li|ul|ol|tr"
    rf"|h[1-6])\s*>[ \t]*|<(?:ul|ol){_ATTRIBUTES}\s*>"
)
_RAISED = re.compile(rf"(?i)<(su[pb]){_ATTRIBUTES}\s*>([^<>]{{1,40}})</\1\s*>")
_MARKUP = re.compile(rf"(?i)</?(?:strong|em|span|font|center|tt|small|big){_ATTRIBUTES}\s*>")
# Of a one-letter tag the end must be there: a<b>c orders three numbers.
_LETTER_MARKUP = {f"</{name}>": re.compile(rf"(?i)</?{name}{_ATTRIBUTES}\s*>") for name in "biu"}

_POINTS = (
    r"(?:\d{1,3}(?:\.5)?\s*(?:points?|pts?\.?|marks?|\u5206)(?:\s+each)?|(?:full\s+(?:score|mark)"
    r"|this\s+question\s+is\s+worth)[^()\[\]]{0,40}|\u672c(?:\u5c0f)?\u9898[^()\uff08\uff09]{0,20}\u5206)"
)
_CONTEST = (
    r"(?:AIME|AMC|AHSME|AJHSME|USAMO|USAJMO|IMO|ISL|HMMT|PUMaC|CMIMC|BMT|SMT|MATHCOUNTS|Putnam|APMO|BMO|CMO"
    r"|TST|Olympiad|Contest|"
    r"Competition|Tournament|Examination|Exam|Shortlist|Selection\s+Test|League)"
)
_PREFIX = re.compile(
    rf"""(?ix)^[\s*#_]*(?:
      (?:problem|question|exercise|task|q(?:ue)?\.?|\u4f8b|\u9898\u76ee|\u7b2c)\s*(?:no\.?|number|\#
        |\u7b2c)?\s*\d{{1,4}}(?:\.\d{{1,3}}){{0,2}}[a-z]?\s*\u9898?\s*[*_]*\s*(?:[.:)\]\u3001\uff1a]+(?=\D)|-\s
          |\n|(?=\([^()\n]{{1,60}}\)|\[[^\[\]\n]{{1,60}}\]))
    | (?:example)\s+\d{{1,4}}(?:\.\d{{1,3}})?\s*[*_]*\s*[.:)]?(?=[\s*(])
    | (?:math\s+)?(?:problem|question)\s*[*_]*\s*:
    | [(\[\uff08]\s*{_POINTS}\s*[)\]\uff09]
    | [(\[]\s*(?:(?:19|20)\d\d[^()\[\]\n]{{0,80}}(?-i:{_CONTEST})|(?-i:{_CONTEST})[^()\[\]\n]{{0,60}}(?:19
      |20)\d\d)[^()\[\]\n]{{0,80}}[)\]]
    )\s*[*_]*\s*[.:]?\s*"""
)
_NUMBERED = re.compile(r"^[\s*]*(\d{1,3})[.)\u3001][*]*\s+(?=[A-Z$\\\u4e00-\u9fff(\[])")
_POINTS_BEHIND = re.compile(rf"(?i)\s*[(\[\uff08]\s*{_POINTS}\s*[)\]\uff09]\s*\Z")
_INSTRUCTION_BEFORE = re.compile(
    r"(?is)^\s*(?:(?:please\s+)?(?:solve|answer)\s+the\s+following\s+(?:math(?:ematics"
    r"|ematical)?\s+)?(?:problem|question)\s*(?:efficiently\s+and\s+clearly|carefully|step[- ]by[- ]step)?\s*[.:]\s*"
    r"(?:the\s+last\s+line\s+of\s+your\s+response\s+should\s+be\s+(?:of"
    r"|in)\s+the\s+(?:following\s+)?form(?:at)?:?\s*(?:\"?answer:?\s*\\?\$?\\?\w+\"?"
    r"|[^.\n]{0,80})\s*\(without\s+quotes\)[^.\n]{0,120}\.\s*)?)"
)
_BOX = r"(?:a\s+)?\$?\\+boxed\s*(?:\{[^{}]{0,20}\})?\$?"
_INSTRUCTION_BEHIND = re.compile(
    rf"""(?isx)\s*(?:
      (?:please\s+|let'?s\s+|now\s+|you\s+should\s+|make\s+sure\s+to\s+)*(?:reason|think|work|solve)(?:\s+(?:it
        |this|through\s+(?:it|this)|the\s+problem|about\s+it))?\s+(?:carefully\s+)?step[-\ ]by[-\ ]step
        (?:\s*,?\s*(?:and\s+)?(?:then\s+)?(?:put|write|give|enclose|present|place|provide)\s+(?:your
          |the)\s+(?:final\s+)?answer\s+(?:within|in|inside|using)\s+{_BOX})?\s*[.!]*
    | (?:please\s+|and\s+|make\s+sure\s+to\s+|remember\s+to\s+)*(?:put|write|give|enclose|present|place|provide
      |output|box|return)\s+(?:your|the)\s+(?:final\s+)?answer\s+(?:within|in|inside|using|with)\s+{_BOX}\s*[.!]*
    | (?:please\s+)?(?:remember\s+to\s+)?put\s+your\s+answer\s+on\s+its\s+own\s+line\s+after\s+"?answer:"?\s*\.?
    | \u8bf7(?:\u9010\u6b65|\u4e00\u6b65\u4e00\u6b65)\u63a8\u7406[^\n]{{0,60}}
    )\s*\Z"""
)
_TAIL_CHARACTERS = 400

_ANSWER_IS = re.compile(
    r"(?i)^(?:(?:so|thus|hence|therefore),?\s+)?(?:the\s+|my\s+)?(?:final\s+"
    r"|correct\s+)?answer(?:\s+is(?:\s*:)?|\s*[:=])\s*(?=\S)|^\#{4}\s*"
)
_DOLLARS = re.compile(r"(?s)(\${1,2})\s*([^$]+?)\s*\1")
_PARENS = re.compile(r"(?s)\\\(\s*((?:(?!\\[()]).)+?)\s*\\\)|\\\[\s*((?:(?!\\[\[\]]).)+?)\s*\\\]")
_BOXED = re.compile(r"\\(?:boxed|fbox)\s*\{")
_LONGEST_ANSWER = 10_000


def normal_prompt(prompt: str, *, kind: str) -> str:
    """The prompt as a problem has it; the same object when nothing was to change."""
    if kind not in _WHOLE:
        return prompt
    text = _framed(_characters(prompt))
    return prompt if text == prompt else text or prompt


def normal_answer(answer: str, *, kind: str) -> str:
    """The answer without wrapping; the same object when nothing was to change. Only of math and choice is any taken."""
    if kind not in _WHOLE or len(answer) > _LONGEST_ANSWER:
        return answer
    text = _characters(answer).strip()
    if kind != "text":
        text = _unwrapped(text)
    return answer if text == answer else text or answer


def _characters(text: str) -> str:
    """One way to write each character; no markup."""
    if _ODD.search(text):
        for pattern, command in _DESTROYED:
            text = pattern.sub(command, text)
        text = _JOINERS.sub("", text.replace("\r\n", "\n")).translate(_TABLE)
    elif "\t" in text:
        text = _DESTROYED[2][0].sub(_DESTROYED[2][1], text)
    if "<" in text and ">" in text:
        text = _MARKUP.sub("", _RAISED.sub(_as_latex, _BREAK.sub("\n", text)))
        low = text.lower()
        for end, pattern in _LETTER_MARKUP.items():
            if end in low:
                text = pattern.sub("", text)
    if "&" in text:
        text = _ENTITY.sub(lambda match: html.unescape(match.group()).replace("\xa0", " "), text)
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _as_latex(match: re.Match[str]) -> str:
    """x<sup>2</sup> says x^{2}."""
    return f"{'^' if match[1].lower() == 'sup' else '_'}{{{match[2]}}}"


def _framed(text: str) -> str:
    """The text without the name, the points and the instructions that its source put before and behind it."""
    inner = text
    if inner[:60].lower().lstrip().startswith(("please ", "solve ", "answer ")):
        inner = _INSTRUCTION_BEFORE.sub("", inner, count=1)
    for _ in range(3):
        found = _PREFIX.match(inner)
        if found is None:
            break
        inner = inner[found.end() :]
    if found := _NUMBERED.match(inner):
        following = rf"(?:^|\s|\*){int(found[1]) + 1}[.)\u3001]\*{{0,2}}\s"
        # 1. What ...? 2. What ...? are two questions, not one with a number before it.
        inner = inner if re.search(following, inner[found.end() :]) else inner[found.end() :]
        if inner is not text and (again := _PREFIX.match(inner)):
            inner = inner[again.end() :]
    inner = _without_instructions(inner)
    return inner if inner is text else inner.strip()


def _without_instructions(text: str) -> str:
    for _ in range(3):
        start = max(0, len(text) - _TAIL_CHARACTERS)
        tail = text[start:]
        low = tail.lower()
        if not any(
            word in low for word in ("boxed", "step", "point", "pts", "mark", "own line", "\u63a8\u7406", "\u5206")
        ):
            return text
        found = _INSTRUCTION_BEHIND.search(tail) or _POINTS_BEHIND.search(tail)
        if found is None or start + found.start() == 0:
            return text
        text = text[: start + found.start()]
    return text


def _unwrapped(text: str) -> str:
    """5 for $\\boxed{5}$, \\(5\\), "The answer is 5."."""
    for _ in range(4):
        before = text
        if found := _ANSWER_IS.match(text):
            text = text[found.end() :].rstrip(".").strip() if not text.endswith("..") else text[found.end() :]
        if found := _DOLLARS.fullmatch(text) or _PARENS.fullmatch(text):
            text = (found[2] if found.re is _DOLLARS else found[1] or found[2]).strip()
        text = _unboxed(text)
        if text == before:
            break
    return text


def _unboxed(text: str) -> str:
    """The inside of a box that is around all of the text."""
    found = _BOXED.match(text)
    if found is None or not text.endswith("}"):
        return text
    depth = 1
    for place in range(found.end(), len(text)):
        if text[place] in "{}" and text[place - 1] != "\\":
            depth += 1 if text[place] == "{" else -1
            if depth == 0:
                return text[found.end() : place].strip() if place == len(text) - 1 else text
    return text
