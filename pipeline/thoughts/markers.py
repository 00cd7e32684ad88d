"""Where a thought reflects, checks, tries another way or corrects itself: what a worked solution of a book never does.

These are the marks of the long thoughts that the paper calls retrospective (arXiv 2411.16489, 2410.18982) and that s1
(2501.19393), LIMO (2502.03387) and OpenThoughts (2506.04178) are made of. They count where the writer speaks: "wait"
as a word of the story ("they wait for 5 minutes") is none.
"""

import re

KINDS = ("reflect", "check", "alternative", "correct")

_START = r"(?:(?<=[.!?:;,\u2014-] )|(?<=[\n\"(*\u2014\u2026])|(?<![^\n]))"
_REFLECT = (
    rf"{_START}(?:oh,? |but |no,? |and |so )?wait\b(?! (?:for|till|until|times?|in|at|on|to|\d))"
    r"|\bh+m+\b|\bhold on\b|\b(?:on|upon) (?:second thought|reflection|closer)"
    r"|\blet(?:'s| me| us) (?:think|pause|see if (?:this|that|it) (?:is|makes|works))"
    r"|\bis (?:this|that|it) (?:really |actually )?(?:right|correct|true|possible|ok)\?|\bdoes (?:this|that|it) make sense"
    r"|\bam i (?:sure|missing|right)|\bi(?:'m| am) not (?:so |entirely |completely )?sure|\bi wonder"
    r"|等等|等一下|嗯|让我(?:再)?想|仔细想|真的吗|这样对吗|对不对|是不是"
)
_CHECK = (
    r"\b(?:let(?:'s| me| us)|i(?:'ll| will| should| need to| want to| can)|we should|to be safe,?) "
    r"(?:now |just |also |quickly |first |please )?(?:double[- ]?|re-?|cross[- ]?)?(?:check|verify|confirm|test|examine|make sure|recount|recompute|recalculate|re-?read)"
    r"|\b(?:double|sanity|quick|cross)[- ]?check|\bjust to be (?:sure|safe)|\blet me (?:see|plug|try plugging)\b|\bverifying\b|\bchecking\b"
    r"|检查|验证|验算|核对|核实|确认一下|代回|再算一遍"
)
_ALTERNATIVE = (
    rf"\balternatively\b|\banother (?:way|approach|method|idea|thought)\b|\b(?:a )?different (?:approach|method|way|angle)\b"
    rf"|{_START}(?:or )?(?:maybe|perhaps) (?:i|we|there|it|the|this|that)\b|\bwhat if\b|\binstead,|\blet(?:'s| me) try\b"
    r"|或者[,，我可用说]|另一种|换一?[种个](?:思路|方法|角度|办法)|换个|也许(?:可以|我)|试试|如果换"
)
_CORRECT = (
    rf"{_START}(?:but |no,? |oh,? )?actually,"
    rf"|{_START}no,|\b(?:that|this|it)(?:'s| is| was| can't be| cannot be| doesn't seem| isn't|'s not| is not) (?:not )?(?:quite )?(?:right|wrong|correct|incorrect)\b"
    r"|\b(?:i|my|a) (?:made (?:a|an) |)(?:silly |small |sign |arithmetic )*(?:mistake|error)|\boops\b|\bscratch that\b|\bmy bad\b|\bi (?:mis\w+|forgot|messed)"
    r"|\bgo(?:ing)? back\b|\blet(?:'s| me) (?:redo|restart|start over|reconsider|rethink|revisit|correct|fix)|\bi was wrong"
    r"|不对|不是这样|搞错|算错|弄错|写错|错了|重新|回到|回过头|其实[,，]"
)
_MARKER = re.compile(
    f"(?P<reflect>{_REFLECT})|(?P<check>{_CHECK})|(?P<alternative>{_ALTERNATIVE})|(?P<correct>{_CORRECT})"
)


def markers(text: str) -> dict[str, int]:
    """How many marks of each kind a text has; `text` in lower case."""
    counts = dict.fromkeys(KINDS, 0)
    for match in _MARKER.finditer(text):
        counts[str(match.lastgroup)] += 1
    return counts


def too_few(counts: dict[str, int], *, tokens: int, least: int, least_per_1000: float) -> str | None:
    """Why a text is no thought, or None; `tokens` of the student."""
    total = sum(counts.values())
    shown = ", ".join(f"{kind} {count}" for kind, count in counts.items() if count) or "none"
    if total < least:
        return f"{total} markers of thinking, at least {least} wanted ({shown})"
    if total * 1000 < least_per_1000 * tokens:
        return f"{total * 1000 / tokens:.1f} markers in 1,000 tokens, at least {least_per_1000:g} wanted ({shown})"
    return None
