"""Draw and verify the traces of some parts: the one way in which distilling, measuring and rating ask an engine."""

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from cluster.asks import Ask, ModelAt, Part, TeacherAt
from cluster.models import identity
from cluster.progress import unseen, watched
from cluster.stream import stream
from jobs.job import Summary, usd
from jobs.recipe import Recipe
from jobs.steps import store_of
from jobs.teachers import judging_of, teachers_at
from pipeline.funnel import TraceCounts

_JUDGED = ("correct", "wrong", "undecided")


def drawn(
    recipe: Recipe,
    parts: Sequence[Part],
    *,
    of: Iterable[str],
    asks: Callable[[Mapping[str, TeacherAt]], Sequence[Ask]],
    title: str,
    judged: bool = True,
    shown: bool = True,
) -> Iterator[TraceCounts]:
    """Make and verify the traces of all parts; yields each part's counts as it comes.

    `of` names who is asked; `asks` says what, given those of them that are teachers. Only if `judged` may the recipe's
    LLM judge be asked about the answers; only if `shown` are there live figures. Raises Stop when the run could not
    go on; what was in flight is in the ledger then.
    """
    if not parts:
        return
    size = len(parts)
    if shown:
        live = watched(recipe.name, title, line=LiveLine(size), parts=size)
    else:
        live = unseen(recipe.name, title, parts=size)
    with teachers_at(recipe, of) as teachers, live as board:
        yield from stream(
            parts,
            asks(teachers),
            judging=judging_of(recipe, teachers) if judged else None,
            name=f"{recipe.name}-{title.replace(' ', '-')}",
            store=store_of(recipe),
            settings=recipe.stream,
            verify=recipe.verify,
            invocation=uuid.uuid4().hex,
            board=board,
        )


def nothing_new(summary: Summary) -> Summary:
    """The summary of a step that was done before: all its calls are reused and nothing is spent."""
    calls = summary["calls"]
    again = {"bought": 0, "reused": calls["bought"] + calls["reused"], "retried": 0, "failed": calls["failed"]}
    return {**summary, "calls": again, "cost_usd": 0.0, "seconds": 0.0}


def base_at(recipe: Recipe) -> ModelAt:
    """The student before training."""
    return ModelAt(recipe.student.engine, recipe.student.model, identity(recipe.student.model))


def engine_at(recipe: Recipe, name: str, teachers: Mapping[str, TeacherAt]) -> TeacherAt | ModelAt:
    """Who answers to a name: the student before training, or one of the teachers."""
    return base_at(recipe) if name == "student" else teachers[name]


class LiveLine:
    """rows, tokens/s, kept, cost and time left, from the board's figures."""

    def __init__(self, total: int) -> None:
        self._total = total

    def __call__(self, figures: Mapping[str, float], seconds: float) -> str:
        parts, bought, reused = (figures.get(name, 0) for name in ("parts_done", "calls/bought", "calls/reused"))
        tokens = sum(figures.get(f"tokens/{kind}", 0) for kind in ("thought", "reply"))
        correct, traces = figures.get("rows/correct", 0), sum(figures.get(f"rows/{name}", 0) for name in _JUDGED)
        left = f"{(self._total - parts) * seconds / parts:,.0f} s left" if parts else "time left unknown"
        return (
            f"shards {parts:g}/{self._total}  calls {bought:,.0f} bought {reused:,.0f} reused  "
            f"{tokens / max(seconds, 1e-9):,.0f} tokens/s  "
            f"correct {correct:,.0f}/{traces:,.0f}  "
            f"{usd(figures.get('cost_usd', 0.0))}  {left}"
        )
