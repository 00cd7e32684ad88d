"""What became of many replies, in a few bytes a reply: merged part by part, then scored."""

import statistics
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, overload

from pipeline.foreign.replies import Draw, Replies
from pipeline.scores.score import score
from pipeline.verdict import Verdict

VERDICTS = ("correct", "wrong", "undecided")
_UNKNOWN = -1
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
        for (verdict, why), times in other.reasons.items():
            # Reasons may carry foreign words: no end of different ones must not fill the memory.
            known = (verdict, why) in self.reasons or len(self.reasons) < _MOST_REASONS
            self.reasons[verdict, why if known else "other reasons"] += times

    def metrics(self) -> dict[str, Any]:
        """Counts, the score with its intervals, and the commonest reasons of what is not correct."""
        scored = score(self).as_json()
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
            # The classes of equal answers are not told for foreign replies.
            vote=None,
            finish_reason="length" if self._truncated[index] else "stop",
            thought_tokens=0,
            reply_tokens=max(0, self._tokens[index]),
            drop=None,
        )


def _is_no_answer(draw: Draw, verdict: Verdict) -> bool:
    return verdict.verdict == "wrong" and verdict.found is None and not draw.truncated
