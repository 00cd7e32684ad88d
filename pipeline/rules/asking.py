r"""What a problem asks for: a value that can be compared, a proof, or words that nothing can be compared with.

proof and open_ended hold only where no value is asked beside: "Prove that x is even and find y" has an answer.
"""

import re

from pipeline.record import Problem
from pipeline.rules.quoting import quoted
from pipeline.rules.settings import RowSettings

# Where a sentence, a formula or a part such as "(a)" ends, and an order may begin.
_BEGINS = r"(?:^|[.;:!?)\]}\n$,*]\s*|\\\\\s*|\b(?:and|then|hence|also|thus|please|therefore|or|so|now|first|can\s+you|to|we|you)\s+)"
_HOW_MUCH = (
    r"how\s+(?:many|much|long|far|old|tall|high|wide|deep|big|large|small|fast|often|heavy|late|early|soon|close|likely|"
    r"\w+er)\b"
)
_ORDER = re.compile(
    rf"""(?imx)
    {_BEGINS}(?<!how\ to\ )(?<!how\ you\ )(?<!how\ we\ )
    (?:find | determine | compute | calculate | evaluate | solve | simplify | factor(?:i[sz]e)?\b | convert\b | round\b
    | estimate | expand | work\s+out | figure\s+out | count\b | fill\s+in | complete\s+the | express | rewrite
    | write\s+(?:\S+\s+){{0,12}}?(?:as|in)\b | give\s+(?:the|your|all|a\s+formula) | enter | state\s+(?:the|your) | list\b | name\s+the
    | in\s+how\s+many | for\s+(?:which|what|how\s+many) | {_HOW_MUCH})
    """
)
_QUESTION = re.compile(r"[^.?!\n\u3002\uff1f]{1,400}(?:\.\d[^.?!\n\uff1f]{0,200})?[?\uff1f]")
_OPEN_QUESTION = re.compile(
    r"(?i)\bwhy\b|\bhow\s+(?:do|does|did|can|could|would|should|might|is|are|was|were|to)\b"
    r"|\bwhat\s+(?:do|would|did)\s+(?:you|they|we)\s+(?:think|say|notice|conclude|expect)\b|\bwhat\s+can\s+(?:you|we|be)\s+(?:say|said|conclude)"
    r"|\bwhat\s+(?:is|are)\s+(?:some|your|the\s+(?:advantages?|benefits?|reasons?|importance|significance|role|purpose|meaning|implications?))\b"
)
_BLANK = re.compile(
    r"_{3,}|\\underline\s*\{\s*(?:\\\S+\s*)*\}|\\(?:fbox|square|Box|boxed\s*\{\s*\})|\(\s{2,}\)|[=\N{RIGHTWARDS ARROW}]\s*\??\s*\$*\s*$"
)
_FOREIGN_VALUE = re.compile(
    r"\u6c42(?!\u8bc1)|\u591a\u5c11|\u51e0|\u7b49\u4e8e|\u4e3a\s*[_(\uff08]|\u043d\u0430\u0439\u0434\u0438\u0442\u0435|\u0441\u043a\u043e\u043b\u044c\u043a\u043e|\u0432\u044b\u0447\u0438\u0441\u043b\u0438\u0442\u0435"
    r"|(?i:\b(?:halla|encuentra|calcula|determina|cu\u00e1nt[oa]s?|trouve[rz]?|calcule[rz]?|d\u00e9termine[rz]?|combien|bestimmen?|berechnen?|wie\s*viele?)\b)"
)
_PROOF = re.compile(
    rf"""(?imx)
    {_BEGINS}(?:(?:must|should|needs?\s+to|have\s+to|has\s+to|carefully|rigorously|formally|directly|briefly)\s+)?
    (?P<verb>(?:dis)?prove\b(?!\s+(?:himself|herself|themselves|it\s+to|to\s+be))
    | show\s+(?:that|why\s+the|how\s+(?:to\s+prove|this\s+implies)|there\s+(?:is|are|exists?)|the\s+(?:inequality|identity|equality|existence)|(?:directly|also|further|then|first)\s+that|:|\$|\\[(\[])
    | demonstrate\s+(?:that|the|how|why|:|\$) | verify\s+(?:that|the\s+(?:identity|inequality|equality|claim|theorem))
    | establish\s+(?:that|the\s+(?:identity|inequality|equality|formula)) | deduce\s+that | justify\s+that
    | (?:give|write|provide|construct|find)\s+(?:a|the)\s+(?:\w+\s+){{0,3}}(?:proof|counterexample)\b)
    [^\n.]{{0,60}}
    """
)
_FOREIGN_PROOF = re.compile(
    r"\u8bc1\u660e|\u6c42\u8bc1|\u8a3c\u660e|\u8a3c\u305b\u3088|(?i:\b(?:\u0434\u043e\u043a\u0430\u0436\u0438\u0442\u0435|\u0434\u043e\u043a\u0430\u0437\u0430\u0442\u044c|demuestr[ae]|demostrar|prueb[ae]\s+que|"
    r"d\u00e9montre[rz]?|prouve[rz]?|montre[rz]\s+que|beweise[n]?|zeigen?\s+sie,?\s+dass?|zeige,?\s+dass|mostre\s+que|prove\s+que|dimostra(?:re)?)\b)"
)
_OPEN = re.compile(
    rf"""(?imx)
    {_BEGINS}(?:(?:briefly|fully|carefully|in\s+your\s+own\s+words,?)\s+)?
    (?:explain | describe | discuss | design\b | justify | elaborate | interpret | comment\s+on | outline | summari[sz]e
    | reflect\s+on | investigate | explore | compare\s+and\s+contrast | compare\s+the\s+(?:advantages|methods)
    | (?:write|compose|create|make\s+up|invent|pose|draft)\s+(?:me\s+)?(?:an?|your\s+own|two|three|some)\s+(?:\w+\s+){{0,3}}
        (?:essay|story|poem|paragraph|report|letter|program|word\s+problem|problem|question|song|summary|script|plan|speech|article|quiz)
    | (?:give|provide|find|suggest|name|list)\s+(?:(?:an?|one|some|two|three|several)\s+)(?:\w+\s+){{0,3}}(?:examples?|reasons?|ways|strateg(?:y|ies)|methods|applications)
    | propose\s | suggest\s+(?:an?|how)\b | (?:draw|sketch|plot|graph)\s+(?:an?|the|each|and|on|\$|\\) | develop\s+an?\b
    | construct\s+(?:an?|the)\s+(?:\w+\s+){{0,2}}(?:triangle|circle|square|line|segment|bisector|tangent|angle|point|table|diagram|model)\b)
    [^\n.]{{0,60}}
    """
)
_OPEN_WORDS = (
    "explain", "describe", "discuss", "design", "justify", "elaborate", "interpret", "comment", "outline", "summari",
    "reflect", "investigat", "explore", "compare", "write", "compose", "create", "make up", "invent", "pose", "draft",
    "example", "reason", "ways", "strateg", "methods", "applications", "propose", "suggest", "draw", "sketch", "plot", "graph",
    "develop", "construct",
)  # fmt: skip
_PROOF_WORDS = ("prove", "show", "demonstrate", "verify", "establish", "deduce", "justify", "proof", "counterexample")


def proof(problem: Problem, settings: RowSettings) -> str | None:
    """It asks to prove or show something, and for no value beside."""
    text = problem.prompt
    low = text.lower()
    found = _PROOF.search(text) if any(word in low for word in _PROOF_WORDS) else None
    if found is not None:
        return (
            None
            if _asks_value(text[: found.start()] + " . " + text[found.end("verb") :])
            else quoted(found["verb"] + text[found.end("verb") : found.end()])
        )
    if low.isascii():
        return None
    foreign = _FOREIGN_PROOF.search(text)
    return quoted(foreign.group()) if foreign and not asks_value(text) else None


def open_ended(problem: Problem, settings: RowSettings) -> str | None:
    """It asks for words, a drawing or an example, or why something is so, and for no value beside."""
    text = problem.prompt
    low = text.lower()
    found = _OPEN.search(text) if any(word in low for word in _OPEN_WORDS) else None
    if found is None and "?" in text:
        found = next((match for match in _QUESTION.finditer(text) if _OPEN_QUESTION.search(match.group())), None)
    if found is None:
        return None
    return None if asks_value(text) else quoted(found.group().lstrip(".;:!?)]}$,* \n"))


def asks_value(text: str) -> bool:
    """Whether a text orders or asks something whose answer can be compared."""
    return _asks_value(text)


def _asks_value(text: str) -> bool:
    if _ORDER.search(text) or _BLANK.search(text):
        return True
    if any(not _OPEN_QUESTION.search(match.group()) for match in _QUESTION.finditer(text)):
        return True
    return not text.isascii() and _FOREIGN_VALUE.search(text) is not None


def asks(text: str) -> bool:
    """Whether a text orders or asks anything at all: a value, a proof, words."""
    return "?" in text or bool(_ORDER.search(text) or _PROOF.search(text) or _OPEN.search(text)) or "\uff1f" in text
