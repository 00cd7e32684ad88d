"""Markdown that foreign text can't break: what comes from data is escaped, what is written here is not."""

import re
from collections.abc import Sequence

from markupsafe import Markup

_LONGEST, _PARAGRAPH = 160, 4000
# As entities these are plain text to every parser, in a table's cell too; a backslash before a bar is read in two ways.
_ENTITIES = {letter: f"&#{ord(letter)};" for letter in "\\|<>&`"}
_SLASHED = {letter: f"\\{letter}" for letter in "*[]~$#!@"}
_SPECIAL = str.maketrans(_ENTITIES | _SLASHED)
# Inside a word an underscore is only itself.
_UNDERSCORE = re.compile(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
# A bare address would become a link.
_LINK = re.compile(r":(?=//)|(?<=www)\.", re.IGNORECASE)
# What would begin a list or underline a heading where the text begins a line.
_START = re.compile(r"^(?:[-+=]|\d{1,9}[.)])(?=\s|$|[-=])")


def flat(text: object, *, most: int = _LONGEST) -> str:
    """A text on one line, without control characters and not longer than `most` characters."""
    # Cut first: what is shown of a long text needs no more of it.
    head = str(text)[: 4 * most]
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in head).split())
    return line if len(line) <= most and len(head) == len(str(text)) else f"{line[: most - 3]}..."


def plain(text: object, *, most: int = _LONGEST) -> Markup:
    """A foreign text that reads in Markdown as what it is, on one line of at most so many characters."""
    if isinstance(text, Markup):
        return text
    line = _UNDERSCORE.sub("&#95;", flat(text, most=most).translate(_SPECIAL))
    line = _LINK.sub(lambda found: f"&#{ord(found[0])};", line)
    return Markup(_START.sub(lambda found: f"{found[0][:-1]}&#{ord(found[0][-1])};", line))


def words(text: object) -> Markup:
    """A paragraph of ours, with foreign words in it that were made `flat`."""
    return plain(text, most=_PARAGRAPH)


def table(head: Sequence[str], rows: Sequence[Sequence[object]], *, right: int = 1, left: int = 99) -> Markup:
    """A table whose columns from number `right` up to `left` hold figures; empty without rows."""
    if not rows:
        return Markup("")
    marks = ["---:" if right <= place < left else "---" for place in range(len(head))]
    lines = [[plain(cell) for cell in row] for row in (head, *rows)]
    lines.insert(1, [Markup(mark) for mark in marks])
    return Markup("\n".join(f"| {' | '.join(line)} |" for line in lines))


def code(text: object, *, language: str = "") -> Markup:
    """A foreign text as code: in a fence of its own that it can't close."""
    longest = max((len(found) for found in re.findall("`+", str(text))), default=0)
    fence = "`" * max(3, longest + 1)
    return Markup(f"{fence}{language}\n{str(text).rstrip()}\n{fence}")
