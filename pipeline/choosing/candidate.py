"""What the choice between traces needs to know of each: small columns, never a text that was written."""

from dataclasses import dataclass

import pyarrow as pa

CANDIDATE_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("generation", pa.string(), nullable=False),
        pa.field("draw", pa.int64(), nullable=False),
        pa.field("place", pa.uint64(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("licence", pa.string(), nullable=False),
        pa.field("subject", pa.string()),
        pa.field("level", pa.string()),
        pa.field("cluster", pa.string(), nullable=False),
        pa.field("pass_rate", pa.float64()),
        pa.field("tokens", pa.int64(), nullable=False),
        pa.field("student_tokens", pa.int64()),
        pa.field("agreement", pa.float64()),
        pa.field("validation", pa.bool_(), nullable=False),
        pa.field("sketch", pa.binary()),
        pa.field("rejectable", pa.bool_(), nullable=False),
        pa.field("drop", pa.string()),
        pa.field("drop_why", pa.string()),
    ]
)
"""One line a trace, in the order of its trace file.

`place` is where the seed puts it among all; `cluster` is the problem's own id where it stands alone; `tokens` are the
engine's, `student_tokens` the student's and null where nobody needed them; `rejectable` traces are wrong, whole, and
otherwise fit, so that one may stand in a preference pair.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the draws of a problem are compared by: a trace's columns without its texts.

    `text` is the same for traces with the same thought and reply; it is empty where both are.
    """

    id: str
    source: str
    licence: str
    subject: str | None = None
    level: str | None = None
    cluster: str | None = None
    pass_rate: float | None = None
    generation: str
    draw: int
    finish_reason: str
    thought_tokens: int
    reply_tokens: int
    verdict: str | None
    why: str | None
    drop: str | None
    vote: int | None = None
    text: bytes


@dataclass(slots=True)
class Judged:
    """A trace and what became of it so far; `drop` is None while it is fit."""

    trace: Told
    drop: str | None = None
    why: str | None = None
    student_tokens: int | None = None
    agreement: float | None = None
    rejectable: bool = False
