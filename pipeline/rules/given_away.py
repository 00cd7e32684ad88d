r"""given_away: the prompt says its own answer, as the answer.

A number that merely occurs in the problem is not given away, nor is another answer than gold: what follows "Answer:",
"the answer is" or \boxed must be the gold answer, or stand in what "Solution:" introduces.
"""

import re

from pipeline.record import Problem
from pipeline.rules.quoting import quoted
from pipeline.rules.settings import RowSettings
from pipeline.rules.several import answers_in
from pipeline.written import exact_number, normal

_SAYS = re.compile(
    r"""(?imx)
    (?:^|[.?!)\]\n(\[*]\s*|\s{2,}|\s-\s)\W{0,4}(?:final\s+|correct\s+|the\s+)?(?:answers?|ans|key|resultado
      |respuesta|r\u00e9ponse|antwort|risposta|resposta
        |\u043e\u0442\u0432\u0435\u0442|solution|sol|result|output|ground\s+truth|spoiler)\b\.?\s*(?:(?:is
          |should\s+be|must\s+be|will\s+be)\b)?\s*[*_]*
        \s*[:=\uff1a]?\s*[*_]*(?:it\s+is\s+)?
    | \b(?:answer|solution|result)\s+(?:(?:to|of)\s+(?:this|the)\s+(?:problem|question|equation)\s+)?(?:is
      |equals|=|should\s+be|must\s+be|will\s+be)\s*:?\s*(?:equal\s+to\s+)?
    | (?:[.?!]|\n)\s*(?:therefore|thus|hence),?\s+(?=[^\n.]{1,60}\.?\s*\Z)
    | \\boxed\s*\{ | ^\s*\#{4}\s* | (?:\u7b54\u6848|\u7b54
      |\u7b54\u3048)\s*[\u662f\u4e3a]?\s*[:\uff1a\u306f]\s* | \u7b54\u6848\u662f\s*
    """
)
_WORKED = re.compile(
    r"(?im)(?:^|[.?!)\]$]\s+|\n)\W{0,4}(?:solution|sol|worked\s+solution|explanation|proof|hint|\u89e3\u6790"
    r"|\u89e3\u7b54|\u89e3|\u5206\u6790|soluci\u00f3n|l\u00f6sung"
    r"|\u0440\u0435\u0448\u0435\u043d\u0438\u0435)\b[*_\s\d]*[:.\uff1a]\s*(?=\S)"
    r"|(?im:^\s*(?:solution|\u89e3)\s*$)"
)
_HINTS = (
    "answer", "ans", "boxed", "solution", "sol", "####", "result", "key", "respuesta", "antwort", "risposta",
    "resposta",
    "explanation", "hint", "proof", "output", "ground truth", "spoiler", "therefore", "thus", "hence",
)  # fmt: skip
# Behind what is only a list of what may be answered: Answer: yes or no.
_ONE_OF = re.compile(r"\s*(?:\bor\b|/|\||,|\bif\b|\u6216)")
_WRAPPING = " \t$*_({[\\\"'`:="
_NUMBER = re.compile(
    r"\s*(?:\\\(|\\\[|[$*_({\[\"'`=\s]|x\s*=|\\text\s*\{|\\boxed\s*\{)*(-?\\?(?:\d[\d,]*(?:\.\d+)?(?:/\d+)?"
    r"|\.\d+|[dt]?frac\s*\{-?\d+\}\s*\{\d+\}))"
)
_LONGEST_TEXT = 20_000


def given_away(problem: Problem, settings: RowSettings) -> str | None:
    """The gold answer where a prompt says an answer."""
    text, gold = problem.prompt, problem.answer.strip()
    low = text.lower()
    if not gold or (low.isascii() and not any(hint in low for hint in _HINTS)):
        return None
    wanted = normal(gold)
    for match in _SAYS.finditer(text):
        if _begins_with(text[match.end() : match.end() + len(gold) + 120], wanted):
            return quoted(text[match.start() : match.end() + len(gold) + 20].lstrip(".?!)] \n"))
    worked = _WORKED.search(text)
    if worked and wanted and _holds(text[worked.end() :][:_LONGEST_TEXT], gold, wanted):
        return quoted(text[worked.start() : worked.end() + 60].lstrip(".?!)] \n"))
    return None


def _begins_with(said: str, wanted: str) -> bool:
    """Whether what is said begins with the gold answer and not with a list of what could be answered."""
    said = said.split("\n\n", 1)[0]
    number = exact_number(wanted)
    if number is not None:
        found = _NUMBER.match(said)
        return (
            found is not None
            and exact_number(found[1].rstrip(",")) == number
            and not _ONE_OF.match(said[found.end() :])
            and re.match(r"\.?\d|\s*[-+*/^]\s*[\d(x]", said[found.end() :]) is None
        )
    bare = normal(said.lstrip(_WRAPPING)).casefold()
    plain = wanted.lstrip(_WRAPPING).casefold()
    if not plain or not bare.startswith(plain):
        return False
    rest = bare[len(plain) :]
    return not (rest[:1].isalnum() and plain[-1:].isalnum()) and not _ONE_OF.match(rest)


def _holds(worked: str, gold: str, wanted: str) -> bool:
    """Whether a worked solution comes to the gold answer: it stands there alone, not within another number or word."""
    parts = answers_in(gold)
    if len(parts) > 1:
        return all(re.search(rf"(?<![\w.,/]){re.escape(part)}(?![\w/]|[.,]\d)", worked) is not None for part in parts)
    return any(
        re.search(rf"(?<![\w.,/]){re.escape(form)}(?![\w/]|[.,]\d)", worked) is not None for form in {gold, wanted}
    )
