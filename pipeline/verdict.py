"""What is judged, and what the judgement is: the words that every verifier, sandbox and score speak."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Submission:
    """What is judged: a reply without its thought, and what it is held against.

    `gold` is written as the kind wants it: an answer, a letter, a text, or the tests of a code problem as JSON.
    """

    kind: str
    gold: str
    reply: str
    finish_reason: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """`verdict` is correct, wrong or undecided; `found` the answer taken out of the reply; `why` the deciding rule."""

    verdict: str
    found: str | None
    why: str
