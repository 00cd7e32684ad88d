"""Check a gold answer before anything is bought for it: one that can't be read can prove nothing right."""

from pipeline.answers import final_answers
from pipeline.gym import bad_gym_gold
from pipeline.maths.outcome import Outcome
from pipeline.maths.tokens import Unreadable
from pipeline.written import choice, choices, exact_number, normal


def bad_gold(kind: str, gold: str) -> str | None:
    """Why a gold answer does not verify against itself, or None when it does.

    Only reading and exact comparison, no algebra: it takes well under a millisecond and can't run away.
    """
    if kind == "code":
        return _bad_tests(gold)
    if kind == "gym":
        return bad_gym_gold(gold)
    if kind == "choice" and choice(gold) is None and not choices(gold):
        return "no single letter"
    if kind in ("text", "choice") and normal(gold):
        return None
    return _bad_math(gold) if kind == "math" else None


def _bad_math(gold: str) -> str | None:
    if exact_number(gold) is not None:
        return None
    from pipeline.maths.compare import compare
    from pipeline.maths.reading import read

    boxed = final_answers(f"So it is \\boxed{{{gold}}}.", kind="math", gold=gold)
    if [normal(answer) for answer in boxed] != [normal(gold)]:
        return "it does not come out of a box as it went in"
    try:
        same = compare(read(gold), read(gold), values=lambda *_: Outcome("same", "not computed"))
    except (Unreadable, RecursionError) as error:
        return str(error)[:200] or "nested too deeply"
    return None if same.says == "same" else f"against itself it is {same.says}: {same.why}"


def _bad_tests(gold: str) -> str | None:
    from pipeline.programs.code_gold import Unreadable as UnreadableTests
    from pipeline.programs.code_gold import read_tests

    try:
        read_tests(gold)
    except UnreadableTests as error:
        return str(error)[:200]
    return None
