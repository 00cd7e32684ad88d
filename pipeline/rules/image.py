r"""image: a problem that can't be understood without a picture.

A picture that is drawn by code in the prompt ([asy], TikZ) is still a picture: no model sees what it draws. A table
whose cells stand in the text is none.
"""

import re

from pipeline.record import Problem
from pipeline.rules.quoting import quoted
from pipeline.rules.settings import RowSettings

_THING = r"(?:figures?|diagrams?|pictures?|images?|drawings?|sketch|illustrations?|photos?|screenshots?)"
_PLOT = r"(?:graphs?|charts?|plots?|histograms?|number\s+line|map|grid|dial|scale)"
_WHERE = r"(?:below|above|at\s+(?:the\s+)?(?:right|left)|(?:to|on)\s+the\s+(?:right|left)|shown|here|opposite)"
_SHOWN = r"(?:shown|pictured|depicted|illustrated|drawn|sketched|displayed)"
_DRAWN = re.compile(
    r"""(?ix)
    \[/?asy\] | \\begin\s*\{(?:asy|tikzpicture|figure|wrapfigure|picture|pspicture)\*?\} | \\includegraphics
      | \\tikz\b
    | !\[[^\[\]]{0,300}\]\s?\( | <img\b | </?image(?:_?\d+)?\s*/?> | \[(?:image|img|figure|diagram|pic)(?:\s*\d+)?\]
    | [\w/-]\.(?:png|jpe?g|gif|svg|webp|bmp)\b | cdn\.mathpix\.com | \bimage_url\b
    """
)
_SPOKEN = re.compile(
    rf"""(?ix)
    \b(?:in|see|from|on|of|by|to|consider|using|use)\s+(?:the|this|these|our|a)\s+
        (?:(?:following|accompanying|adjacent|adjoining|attached|given|above|below|right|left|first|second
          |third)\s+){{1,2}}
        (?:\w+\s+)?{_THING}\b
    | \b(?:in|see|from)\s+the\s+(?:\w+\s+)?(?:figures?|diagrams?|illustration|sketch)(?!\s+(?:skat|eight
      |of\s+speech))\b
    | \b(?:see|study|look\s+at|refer\s+to|using|examine|observe)\s+the\s+(?:\w+\s+)?(?:{_THING}|{_PLOT})\b
        (?!\s+(?:of|frame|book|paper)\b)
    | (?:^|[.?!,;(]\s*)(?:as\s+)?in\s+the\s+(?:picture|image|drawing|photo)\s*,
    | \b(?:the|this|given|these)\s+(?:\w+\s+)?{_THING}\s+(?:is\s+|are\s+)?{_WHERE}\b
    | \b{_THING}\s+(?:is\s+|are\s+)?(?:\w+\s+)?{_SHOWN}\b(?!\s+(?:in|on|to|at)\s+(?!the\s+(?:left|right|figure)))
    | \b(?:the|this)\s+number\s+line\s+(?:below\s+|above\s+)?shows?\b | \breference\s+to\s+the\s+(?:{_THING}
      |{_PLOT})\b
    | \b(?:scatter\s*plot|histogram|dot\s+plot|box\s+plot|number\s+line
      |venn\s+diagram)\s+(?:at\s+(?:the\s+)?(?:right|left)|below|above|shows)
    | \bfollowing\s+(?:figures|diagrams|pictures)\b
    | \bin\s+the\s+table\s+(?:at|to|on)\s+(?:the\s+)?(?:left|right)\b
    | \b(?:the|this)\s+(?:figure|diagram|picture|drawing|sketch|illustration|bar\s+graph|line\s+graph|pie\s+chart
        |circle\s+graph|histogram|scatter\s*plot|pictograph|(?:bar|line)\s+chart|graph|chart|image)
        \s+(?:\w+\s+)?(?:shows|represents|depicts|illustrates)\b
    | \b(?:following|accompanying|attached|adjacent|adjoining)\s+(?:figure|diagram|picture|drawing|sketch|illustration
        |image|photo|(?:bar|line|pie|circle)\s+(?:graph|chart)|histogram|number\s+line)\b
    | \b(?:figure|diagram|fig\.)\s*\(?\d{{1,3}}\b
    | \(\s*see\s+(?:the\s+)?(?:figure|diagram|picture|drawing|illustration|sketch)
    | \bnot\s+drawn\s+to\s+scale\b | \b(?:figure|diagram|picture|drawing)s?\s+(?:is\s+|are\s+)?not\s+to\s+scale\b
    | \u5982(?:[\u5de6\u53f3\u4e0b\u4e0a]?\u56fe|\u5716) | [\u4e0b\u4e0a\u53f3\u5de6]\u56fe | \u56fe\u4e2d
      | \u56fe\u6240\u793a | \u56fe\s?\d | \u793a\u610f\u56fe
    | \b\u043d\u0430\s+(?:\u0440\u0438\u0441\u0443\u043d\u043a\u0435|\u0447\u0435\u0440\u0442\u0435\u0436\u0435
      |\u0440\u0438\u0441\.)
    | \b(?:en|de)\s+la\s+(?:figura|imagen|gr\u00e1fica)\s+(?:siguiente|adjunta|mostrada)\b | \b(?:en
      |de)\s+la\s+figura\s?[,.] | \bsur\s+la\s+figure\b | \bin\s+der\s+abbildung\b
    """
)
# What is shown may be an equation or a list that stands in the text: then there is nothing to miss.
_SHOWN_SOMEHOW = re.compile(
    rf"""(?ix)
    (?<!example\ )(?<!examples\ )(?:\bas\s+{_SHOWN}|\b(?:is|are)\s+(?:shown|pictured|depicted|illustrated
      |displayed))\b
        (?!\s+(?:that|to\s+(?:be|have)|by|on\s+(?:tv|television)|how|why|in\s+(?:section|theorem|class)
          |the\s+\w+\s+that|with|for\b))
        \s*(?:[.,:;)]|\bbelow\b|\babove\b|\bhere\b|\bat\s+(?:the\s+)?(?:left|right)\b|\bto\s+the\b|$)
    | \b(?:the|this)\s+{_PLOT}\s+(?:is\s+|are\s+)?{_WHERE}\b | \b{_PLOT}\s+(?:is\s+|are\s+)?(?:\w+\s+)?{_SHOWN}\b
    | (?<!example\ )(?<!examples\ )(?<!example\ is\ )(?<!examples\ are\ )\b{_SHOWN}\s+(?:below|above|here
      |at\s+(?:the\s+)?(?:right|left)|(?:on|to)\s+the\s+(?:right|left)|in\s+(?:the\s+)?{_THING})\b
    """
)
# The first mention of a picture tells: "in the picture" with none before it points at one; a story brings its own.
_MENTIONED = re.compile(r"(?i)(?P<in>\bin\s+the\s+)?\b(?:picture|image|photo|drawing)s?\b")
_TABLE = re.compile(
    r"(?i)\b(?:the|this|following|in\s+the)\s+(?:\w+\s+)?table\s+(?:below|above|shows?|gives|lists|is\s+shown)\b"
    r"|\bfollowing\s+table\b|\btable\s+(?:below|above)\b|\baccording\s+to\s+the\s+table\b"
)
_SHADED = re.compile(
    r"(?i)\b(?:area|perimeter|fraction|percent(?:age)?|part|portion)\s+(?:\w+\s+){0,5}?(?:is\s+"
    r"|are\s+)?(?:un)?shaded\b"
    r"|\bshaded\s+(?:region|area|part|portion)\b"
)
_WHAT_IS_SHADED = re.compile(
    r"(?i)\b(?:and|is|are|be|was|then|we|he|she|they)\s+(?:then\s+)?shade[ds]?\b(?!\s+(?:region|area))"
)
_STANDS_HERE = re.compile(r"\\\[|\$\$|\\begin\s*\{|\n\s*\|?\s*[^\s|][^\n|]{0,200}\||&|\n[ \t]{2,}\S|:\s*\n")
_CELLS = re.compile(
    r"\\begin\s*\{|\\hline|\||\t|&|(?:\n[^\n]{0,80}\d[^\n]{0,80}){2}|:[^.?!]{0,200}\d[^.?!]{0,100}[,;][^.?!]{0,100}\d"
)
_HINTS = (
    "asy]", "\\begin", "\\includeg", "\\tikz", "](", "] (", "<i", "[i", "[f", "[d", "[p", ".png", ".jp", ".gif", ".svg",
    ".webp",
    ".bmp", "mathpix", "image", "figur", "diagram", "pictur", "drawing", "illustrat", "sketch", "photo", "screenshot",
    "graph", "chart", "plot", "histogram", "number line", "map", "grid", "dial", "scale", "shown", "depicted", "drawn",
    "displayed", "fig.", "table", "shade", "imagen", "abbildung",
)  # fmt: skip


def image(problem: Problem, settings: RowSettings) -> str | None:
    """A picture, or words that point at one."""
    text = problem.prompt
    low = text.lower()
    if low.isascii() and not any(hint in low for hint in _HINTS):
        return None
    found = _DRAWN.search(text) or _SPOKEN.search(text)
    if found is None and not _STANDS_HERE.search(text):
        found = _SHOWN_SOMEHOW.search(text)
    if found is None and (mentioned := _MENTIONED.search(text)) and mentioned["in"]:
        found = mentioned
    if found is None and "table" in low and not _CELLS.search(text):
        found = _TABLE.search(text)
    if found is None and "shaded" in low and not _WHAT_IS_SHADED.search(text):
        found = _SHADED.search(text)
    return quoted(found.group().strip()) if found else None
