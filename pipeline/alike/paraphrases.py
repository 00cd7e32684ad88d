"""Paraphrases of held-out problems: near in an embedding, then judged as the same problem by a model.

The method is NeMo-Skills' (retrieve_similar.py, check_contamination.py). A pair is put as a problem whose answer is
"same", so that the judge's calls are drawn, kept in the ledger, limited and paid for like all others.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from pipeline.alike.match import Matched
from pipeline.generate import Generation, Sampling
from pipeline.llm_judge import quoted
from pipeline.record import Problem, Trace, problem_id
from pipeline.settings import Settings

Vectors = npt.NDArray[np.float32]

GENERATION = "paraphrases"
"""What the judge's draws are called in their rows and in the ledger."""
_SHOWN_CHARS = 4000
_COMPARED_AT_ONCE = 2048


class ParaphraseSettings(Settings):
    """How rewritten held-out problems are looked for."""

    embedder: str
    """The embedding model: a Hugging Face name, a folder, or the shipped all-MiniLM-L6-v2 (English)."""
    above: float = Field(default=0.65, gt=0, lt=1)
    """Pairs of a problem and a held-out problem of a higher cosine are judged. Measured with all-MiniLM-L6-v2: 96 % of
    light and middling paraphrases are above 0.65 and one honest GSM8K problem in ten; translations are not."""
    per_problem: int = Field(default=2, gt=0)
    """The most held-out problems that one problem is compared with, the nearest first."""
    engine: str = "teacher"
    """Who judges: student (before training), teacher, or a name of evaluate.teachers."""
    prompt: str = "same_problem"
    """The judge's prompt, over {prompt} (the problem) and {solution} (the held-out one)."""
    sampling: Sampling = Sampling(temperature=0.0, top_p=1.0, max_tokens=2048)
    """How it answers."""
    unsure: Literal["drop", "keep"] = "drop"
    """What becomes of a problem whose judge gives no clear answer: a doubt about a benchmark is dearer than a row."""

    @property
    def generation(self) -> Generation:
        """What is asked of the judge."""
        return Generation(
            name=GENERATION,
            engine="student" if self.engine == "student" else "teacher",
            prompt=self.prompt,
            draws=1,
            sampling=self.sampling,
        )


def pairs(
    problems: Sequence[Problem],
    vectors: Vectors,
    held_out: Sequence[tuple[str, Problem]],
    others: Vectors,
    settings: ParaphraseSettings,
) -> list[Problem]:
    """The pairs to judge, as problems: prompt and solution are the two texts, quoted; `row` is our problem's id, source
    and cluster are the benchmark and its problem, `level` their cosine.

    `vectors` and `others` hold unit vectors, one a row; `held_out` names the benchmark of each of its problems.
    """
    if not len(problems) or not len(held_out):
        return []
    made = []
    for at in range(0, len(problems), _COMPARED_AT_ONCE):
        cosines = vectors[at : at + _COMPARED_AT_ONCE] @ others.T
        # Few are near: only those are put in order.
        rows, places = np.nonzero(cosines > settings.above)
        for row in np.unique(rows):
            mine = places[rows == row]
            nearest = mine[np.argsort(-cosines[row, mine], kind="stable")][: settings.per_problem]
            made += [
                _pair(problems[at + row], *held_out[place], cosine=float(cosines[row, place])) for place in nearest
            ]
    return made


def _pair(problem: Problem, benchmark: str, other: Problem, *, cosine: float) -> Problem:
    return Problem(
        id=problem_id(f"{problem.id} {other.id}"),
        source=benchmark,
        kind="text",
        prompt=quoted(problem.prompt, head=_SHOWN_CHARS),
        answer="same",
        solution=quoted(other.prompt, head=_SHOWN_CHARS),
        licence="",
        row=problem.id,
        cluster=other.id,
        level=f"{cosine:.3f}",
        drop=None,
        drop_why=None,
    )


def judged_same(traces: Iterable[Trace], settings: ParaphraseSettings) -> dict[str, tuple[Trace, str]]:
    """Problem id -> the pair that drops it, and why in words; of several the first by benchmark and id."""
    found: dict[str, tuple[Trace, str]] = {}
    for trace in sorted(traces, key=lambda trace: (trace.source, trace.cluster or "", trace.id)):
        said = _said(trace)
        if said == "same" or (said == "unsure" and settings.unsure == "drop"):
            judge = "is the same problem as" if said == "same" else "may be the same problem as (the judge was unsure)"
            why = f"{judge} {trace.source} {(trace.cluster or '')[:8]}, cosine {trace.level}"
            found.setdefault(trace.row or "", (trace, why))
    return found


def _said(trace: Trace) -> str:
    """same, different or unsure: what a whole answer gives as its last box; anything else is unsure."""
    if trace.drop is not None or trace.finish_reason != "stop":
        return "unsure"
    found = (trace.found or "").strip().lower()
    return found if found in ("same", "different") else "unsure"


def cleared(
    problems: Iterable[Problem], found: Mapping[str, tuple[Trace, str]], texts: Mapping[str, str]
) -> tuple[list[Problem], list[Matched]]:
    """The problems without those that say a held-out one again, and the matches with both texts.

    `texts` holds the held-out problems' texts by id.
    """
    kept, matches = [], []
    for problem in problems:
        if problem.drop is None and problem.id in found:
            trace, why = found[problem.id]
            problem = replace(problem, drop="benchmark_paraphrase", drop_why=why)
            matches.append(_matched(problem, trace, texts))
        kept.append(problem)
    return kept, matches


def _matched(problem: Problem, trace: Trace, texts: Mapping[str, str]) -> Matched:
    return Matched(
        where="prompt",
        id=problem.id,
        source=problem.source,
        layer="benchmark_paraphrase",
        benchmark=trace.source,
        benchmark_id=trace.cluster or "",
        score=float(trace.level or 0),
        shared="",
        text=problem.prompt[:_SHOWN_CHARS],
        benchmark_text=texts.get(trace.cluster or "", "")[:_SHOWN_CHARS],
    )
