r"""broken_latex: mathematics that can't be read as it stands: cut off, unbalanced, or destroyed by a wrong encoding.

A dollar sign may be money; only a text whose dollars can't all be money or pairs is broken.
"""

import re

from pipeline.record import Problem
from pipeline.rules.quoting import quoted
from pipeline.rules.settings import RowSettings

# What is left of UTF-8 that was read as Latin-1 or Windows-1252, and the sign for what could not be read at all.
_MOJIBAKE = re.compile(
    "\ufffd|(?:[\u00d0\u00d1][\u0080-\u00bf\u0152-\u0192\u2013-\u2122]){2}|\u00e2\u20ac[\u0080-\uffff]"
    "|\u00c3[\u0080-\u00bf\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc\u2013-\u2122]"
    "|\u00c2[\u00a0-\u00bf]|\u00e2[\u02c6\u2030\u2020\u2021][\u0080-\uffff]|\u00ce[\u00b1-\u00bf]"
    "|\u00cf[\u0080-\u0089\u20ac]"
)
_DOUBLE = re.compile(r"\\\\")
_SIGN = re.compile(r"\\[{}$]")
_COMMAND = re.compile(r"\\[A-Za-z]+|[\^_]|\$[A-Za-z]")
_DOLLAR = re.compile(r"\$")
_MONEY = re.compile(
    r"\$\s?\d[\d,]*(?:\.\d+)?(?:\s*(?:[.,;:?!)\"']|$)|\s+[A-Za-z]{2,}|-|/[a-z]|\s*(?:K|M|k|million)\b)"
    r"|\b(?:US|A|C|HK|NZ|S)\$|(?:^|\s)\$(?=\s|$)"
)
_LEFT = re.compile(r"\\left(?![A-Za-z])")
_RIGHT = re.compile(r"\\right(?![A-Za-z])")
_ENVIRONMENT = re.compile(r"\\(begin|end)\s*\{([^{}\n]{0,40})(\}?)")
_OPENS = re.compile(r"\\([(\[\])])")
# What can follow a command in place of an argument that is missing.
_NOTHING = r"\s*(?:$|\$|[=,;)}\]+]|\\[)\]]|\\right|\\end)"
_NO_ARGUMENT = re.compile(
    rf"\\(?:left|right)\s*(?:[\^_$]|$)|\\[dt]?frac{_NOTHING}|\\[dt]?frac\s*\{{[^{{}}]{{0,200}}\}}{_NOTHING}"
    rf"|\\[dt]?frac\s*\{{\s*\}}|\\sqrt(?:\s*\[[^\[\]]{{0,20}}\])?{_NOTHING}"
    rf"|[\^_]\s*(?:$|\$(?!\\)|\\[)\]]|\}}\s*[=+])|\\(?:text|mathrm|mathbf|overline|vec|binom|boxed){_NOTHING}"
)
_ENDS_OPEN = re.compile(r"\\[A-Za-z]*\{?\Z(?<!\\\))(?<!\\\])")
_CLOSED_END = re.compile(
    r"\\(?:dots|ldots|cdots|pi|theta|alpha|beta|infty|circ|quad|qquad|degree|square|Box|triangle|blacksquare"
    r"|end|item|newline|par|hfill|\\)\Z"
)


def broken_latex(problem: Problem, settings: RowSettings) -> str | None:
    """What is broken, with the place where it shows."""
    text = problem.prompt
    if not text.isascii() and (found := _MOJIBAKE.search(text)):
        return f"a wrong encoding: {_around(text, found.start())}"
    if "\\" not in text and "$" not in text and "{" not in text:
        return None
    bare = _SIGN.sub("|", _DOUBLE.sub(" ", text))
    return _unbalanced(bare) or _incomplete(bare)


def _unbalanced(bare: str) -> str | None:
    is_latex = _COMMAND.search(bare) is not None
    if is_latex and (why := _braces(bare) or _dollars(bare)):
        return why
    if "\\" not in bare:
        return None
    left, right = len(_LEFT.findall(bare)), len(_RIGHT.findall(bare))
    if left != right:
        return f"{left} \\left and {right} \\right"
    return _environments(bare) or _delimiters(bare)


def _braces(bare: str) -> str | None:
    opened, closed = bare.count("{"), bare.count("}")
    return None if opened == closed else f"{opened} {{ and {closed} }}"


def _dollars(bare: str) -> str | None:
    count = bare.count("$")
    if count % 2 == 0 or _MONEY.search(bare):
        return None
    return f"{count} dollar signs, none of them money: {_around(bare, bare.rfind('$'))}"


def _environments(bare: str) -> str | None:
    inside: list[str] = []
    for match in _ENVIRONMENT.finditer(bare):
        word, name, close = match.groups()
        if not close:
            return f"cut off: {_around(bare, match.start())}"
        if word == "begin":
            inside.append(name)
        elif not inside or inside.pop() != name:
            return f"\\end{{{name}}} without its \\begin"
    return f"\\begin{{{inside[-1]}}} without its \\end" if inside else None


def _delimiters(bare: str) -> str | None:
    for opener, closer in ((r"\(", r"\)"), (r"\[", r"\]")):
        opened, closed = bare.count(opener), bare.count(closer)
        if opened != closed:
            return f"{opened} {opener} and {closed} {closer}"
    return None


def _incomplete(bare: str) -> str | None:
    if "\\" not in bare and "^" not in bare and "_" not in bare:
        return None
    if found := _NO_ARGUMENT.search(bare):
        return f"an argument is missing: {_around(bare, found.start())}"
    end = bare.rstrip()
    if end.endswith("\\") or ("$" not in end[-1:] and _ENDS_OPEN.search(end) and not _CLOSED_END.search(end)):
        return f"cut off: {_around(end, len(end) - 1)}"
    return None


def _around(text: str, place: int) -> str:
    return quoted(text[max(0, place - 20) : place + 30])
