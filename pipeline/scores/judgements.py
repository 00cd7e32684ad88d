"""What became of many replies, in a few bytes a reply: merged part by part, then scored."""

import statistics
import sys
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, overload

from pipeline.foreign.replies import Draw, Replies
from pipeline.record import KINDS
from pipeline.scores.score import score
from pipeline.verdict import Submission, Verdict
from pipeline.verify import Verifier

VERDICTS = ("correct", "wrong", "undecided")
_UNKNOWN = -1
MOST_VOTING = 1_000_000
"""Draws; of more than these the answers are not kept, so there is no maj@k."""
_KINDS = sorted(KINDS)
_REASONS, _MOST_REASONS = 5, 2000


@dataclass(frozen=True, slots=True)
class JudgedDraw:
    """A draw as `score` wants it."""

    id: str
    verdict: str
    vote: int | None
    finish_reason: str
    thought_tokens: int
    reply_tokens: int
    drop: str | None


@dataclass(slots=True)
class Judgements(Sequence[JudgedDraw]):
    """Draws in columns, some 18 bytes each; as a sequence they are what `score` reads."""

    rows: int = 0
    no_answer: int = 0
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    _found: list[str | None] = field(default_factory=list)
    _kinds: bytearray = field(default_factory=bytearray)
    _votes: "array[int]" = field(default_factory=lambda: array("i"))
    _problems: "array[int]" = field(default_factory=lambda: array("Q"))
    _verdicts: bytearray = field(default_factory=bytearray)
    _truncated: bytearray = field(default_factory=bytearray)
    _tokens: "array[int]" = field(default_factory=lambda: array("q"))

    def count_row(self, replies: Replies, verdicts: Sequence[Verdict]) -> None:
        """Add one row."""
        self.rows += 1
        for draw, verdict in zip(replies.draws, verdicts, strict=True):
            self._problems.append(replies.problem)
            self._verdicts.append(VERDICTS.index(verdict.verdict))
            self._truncated.append(draw.truncated)
            self._tokens.append(_UNKNOWN if draw.tokens is None else draw.tokens)
            self._kinds.append(_KINDS.index(draw.asked.kind) if isinstance(draw.asked, Submission) else 0)
            if len(self._found) <= MOST_VOTING:
                self._found.append(None if verdict.found is None else sys.intern(verdict.found))
            self.no_answer += _is_no_answer(draw, verdict)
            self.reasons[verdict.verdict, verdict.why] += 1

    def add(self, other: "Judgements") -> None:
        """Add another's draws behind these."""
        self.rows += other.rows
        self.no_answer += other.no_answer
        self._problems.extend(other._problems)
        self._verdicts.extend(other._verdicts)
        self._truncated.extend(other._truncated)
        self._tokens.extend(other._tokens)
        self._kinds.extend(other._kinds)
        self._found.extend(other._found[: max(0, MOST_VOTING + 1 - len(self._found))])
        for (verdict, why), times in other.reasons.items():
            # Reasons may carry foreign words: no end of different ones must not fill the memory.
            known = (verdict, why) in self.reasons or len(self.reasons) < _MOST_REASONS
            self.reasons[verdict, why if known else "other reasons"] += times

    def vote(self, verifier: Verifier) -> None:
        """Find the classes of equal answers among the draws of each problem; nothing where there are too many draws."""
        if len(self) > MOST_VOTING:
            return
        self._votes = array("i", [_UNKNOWN]) * len(self)
        draws: dict[int, list[int]] = {}
        for place, problem in enumerate(self._problems):
            draws.setdefault(problem, []).append(place)
        several = [places for places in draws.values() if len(places) > 1]
        asked = [(_KINDS[self._kinds[places[0]]], [self._found[place] for place in places]) for places in several]
        for places, votes in zip(several, verifier.all_votes(asked), strict=True):
            for place, number in zip(places, votes, strict=True):
                self._votes[place] = _UNKNOWN if number is None else number

    def fewest(self) -> tuple[int, int]:
        """The problem with the fewest draws, the first of its like, and how many it has. There must be a draw."""
        draws = Counter(self._problems)
        return min(draws.items(), key=lambda counted: counted[1])

    def metrics(self, ks: Sequence[int] = ()) -> dict[str, Any]:
        """Counts, the score with its intervals, and the commonest reasons of what is not correct.

        No k may be above the draws of the problem with the fewest.
        """
        scored = score(self, ks=ks).as_json()
        known = [count for count in self._tokens if count != _UNKNOWN]
        scored["mean_tokens"] = statistics.fmean(known) if known else None
        scored.pop("undecided")
        scored.pop("refused")
        truncated = sum(self._truncated)
        counts = {name: self._verdicts.count(number) for number, name in enumerate(VERDICTS)}
        return {
            "rows": self.rows,
            "verdicts": counts,
            "no_answer": self.no_answer,
            **scored,
            "truncated": truncated / max(1, len(self)),
            "reasons": {name: dict(self._common(name)) for name in ("undecided", "wrong")},
        }

    def _common(self, verdict: str) -> list[tuple[str, int]]:
        said = Counter({why: times for (name, why), times in self.reasons.items() if name == verdict})
        return said.most_common(_REASONS)

    def __len__(self) -> int:
        return len(self._problems)

    @overload
    def __getitem__(self, index: int) -> JudgedDraw: ...
    @overload
    def __getitem__(self, index: slice) -> list[JudgedDraw]: ...
    def __getitem__(self, index: int | slice) -> JudgedDraw | list[JudgedDraw]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        return JudgedDraw(
            id=f"{self._problems[index]:016x}",
            verdict=VERDICTS[self._verdicts[index]],
            vote=self._votes[index] if self._votes and self._votes[index] != _UNKNOWN else None,
            finish_reason="length" if self._truncated[index] else "stop",
            thought_tokens=0,
            reply_tokens=max(0, self._tokens[index]),
            drop=None,
        )


def _is_no_answer(draw: Draw, verdict: Verdict) -> bool:
    return verdict.verdict == "wrong" and verdict.found is None and not draw.truncated
