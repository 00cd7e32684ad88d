"""Verdicts against labels: replies that a person judged (`verdicts/*.jsonl`), and replies made to break the judge.

A row of `verdicts/*.jsonl` has a name, a kind, a gold, a reply, a finish_reason, a label and why the label is so.
Labels: `correct` must be found; `wrong` must never be `correct` (undecided is allowed); `undecided_ok` is open.
In `hostile.jsonl` no row may be `correct` unless it says `may_be_correct`; a text there may be a list of parts, each a
string or {"text", "times"} for a piece that is repeated.
"""

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pipeline.prompts import split
from pipeline.verdict import Submission, Verdict
from pipeline.verify import Verifier, VerifySettings

FOLDER = Path(__file__).parent / "verdicts"
TIMEOUT_S = 1.0
# What a verdict may take beyond its timeout: the end of a stuck process and the start of the next.
REPLACE_S = 5.0


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def text(parts: str | list[Any]) -> str:
    pieces = [parts] if isinstance(parts, str) else parts
    return "".join(piece if isinstance(piece, str) else piece["text"] * piece["times"] for piece in pieces)


def submission(row: dict[str, Any]) -> Submission:
    finish = row["finish_reason"]
    reply = split(text(row["reply"]), truncated=finish == "length").reply
    return Submission(kind=row["kind"], gold=text(row["gold"]), reply=reply, finish_reason=finish)


CASES = [row for path in sorted(FOLDER.glob("*.jsonl")) if path.stem != "hostile" for row in rows(path)]
HOSTILE = rows(FOLDER / "hostile.jsonl")


@pytest.fixture(scope="module")
def verdicts() -> list[Verdict]:
    """The verdicts on all labelled cases, in their order."""
    with Verifier(VerifySettings(timeout_s=10, judges=2)) as verifier:
        return verifier.verify([submission(row) for row in CASES])


def shown(failed: list[tuple[dict[str, Any], Verdict]]) -> str:
    lines = [
        f"{row['name']}: {verdict.verdict}, gold {row['gold']!r}, found {verdict.found!r} ({verdict.why}); {row['why']}"
        for row, verdict in failed
    ]
    return "\n".join([f"{len(failed)} failed:", *lines])


def test_the_labelled_cases_are_many_and_of_all_kinds() -> None:
    names = [row["name"] for row in CASES]
    assert len(set(names)) == len(names)
    labels = Counter(row["label"] for row in CASES)
    assert set(labels) == {"correct", "wrong", "undecided_ok"}
    assert min(labels["correct"], labels["wrong"]) >= 400
    assert labels["undecided_ok"] < 0.05 * len(CASES)
    for kind, least in {"math": 1500, "choice": 100, "text": 100}.items():
        assert sum(row["kind"] == kind for row in CASES) >= least


def test_no_wrong_answer_counts_as_correct(verdicts: list[Verdict]) -> None:
    pairs = zip(CASES, verdicts, strict=True)
    failed = [(row, got) for row, got in pairs if row["label"] == "wrong" and got.verdict == "correct"]
    assert not failed, shown(failed)


def test_correct_answers_are_found(verdicts: list[Verdict]) -> None:
    right = [(row, got) for row, got in zip(CASES, verdicts, strict=True) if row["label"] == "correct"]
    failed = [(row, got) for row, got in right if got.verdict != "correct"]
    print(shown(failed))
    assert len(failed) <= 0.01 * len(right), shown(failed)


def test_each_verdict_is_one_of_three_and_says_why(verdicts: list[Verdict]) -> None:
    assert {got.verdict for got in verdicts} <= {"correct", "wrong", "undecided"}
    assert all(got.why for got in verdicts)


def test_hostile_replies_are_judged_in_time_and_never_correct(request: pytest.FixtureRequest) -> None:
    """Every fourth row; `--all-hostile` takes them all, for some of them cost their whole timeout."""
    chosen = HOSTILE if request.config.getoption("--all-hostile") else HOSTILE[2::4]
    failed = []
    with Verifier(VerifySettings(timeout_s=TIMEOUT_S, judges=1)) as verifier:
        for row in chosen:
            start = time.monotonic()
            [got] = verifier.verify([submission(row)])
            took_s = time.monotonic() - start
            if took_s > TIMEOUT_S + REPLACE_S or (got.verdict == "correct" and not row.get("may_be_correct")):
                failed.append(f"{row['name']}: {got.verdict} ({got.why}) after {took_s:.1f} s; {row['why']}")
        [alive] = verifier.verify([Submission(kind="math", gold="5", reply=r"\boxed{5}", finish_reason="stop")])
    assert len(HOSTILE) >= 60
    assert not failed, "\n".join([f"{len(failed)} failed:", *failed])
    assert alive.verdict == "correct"
    assert not Path("/tmp/longthought-was-here").exists(), "the code of a reply was run (hostile row code-import)"
