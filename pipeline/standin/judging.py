"""What the stand-in teacher says as a judge: by rule, whether the reply's last box (or line) is the known answer."""

from pipeline.prompts import JUDGING, MARK
from pipeline.standin.worked import Worked

_BEGINS = JUDGING["judge"].partition("{")[0]
_ANSWER, _REPLY, _END = "\nKnown answer:\n", "\nReply to judge:\n", "\nEnd of the reply."


def judge(question: str, *, wrong: bool) -> Worked | None:
    """A judgement of a question of the shipped judge prompt, or None; `wrong` ends on the other verdict."""
    if not question.startswith(_BEGINS):
        return None
    # The quoted lines all begin with the mark, so these headings are the prompt's own.
    known = _unquoted(question.partition(_ANSWER)[2].partition(_REPLY)[0])
    reply = _unquoted(question.partition(_REPLY)[2].partition(_END)[0])
    same = (_plain(known) == _plain(_last(reply))) != wrong
    said = "the same" if same else "not the same"
    return Worked(
        f"The reply ends on {_last(reply)}, the known answer is {known}.",
        f"That is {said}.\nVerdict: {'correct' if same else 'wrong'}",
    )


def _unquoted(lines: str) -> str:
    return "\n".join(line.removeprefix(MARK) for line in lines.strip().splitlines())


def _last(reply: str) -> str:
    _, boxed, rest = reply.rpartition("\\boxed{")
    return rest.partition("}")[0] if boxed else reply.rpartition("\n")[2]


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).rstrip(".")
