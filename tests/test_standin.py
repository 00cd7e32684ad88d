"""The stand-in teacher: what it answers, how often it errs, and the real client through its troubles."""

import asyncio
import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from rows import call

from pipeline.endpoints import TeacherSettings
from pipeline.errors import Stop
from pipeline.generate import Answer, Unfinished
from pipeline.ledger import Call
from pipeline.prompts import PROMPTS
from pipeline.sources import GymSource, read, slices
from pipeline.standin.replay import Recorded
from pipeline.standin.settings import StandinSettings
from pipeline.standin.worked import KINDS as WORKED
from pipeline.standin.worked import work
from pipeline.teacher import alone
from pipeline.verdict import Submission
from pipeline.verify import Verifier, VerifySettings

ROOT = Path(__file__).resolve().parent.parent
KINDS = {
    "letter_counting": ("math", {"min_words": 1, "max_words": 2}),
    "word_sequence_reversal": ("text", {"min_words": 2, "max_words": 4}),
}
BACKWARD = "Reverse this list of words: sun, moon, star"


def questions(family: str, size: int) -> list[tuple[str, str, str]]:
    """Prompts, gold answers and kinds, as our own source reads them from reasoning-gym."""
    kind, options = KINDS[family]
    source = GymSource(name=family, kind=kind, format="reasoning_gym", task=family, size=size, seed=5, options=options)
    rows = [raw for part in slices(source) for raw in read(source, part)]
    return [(raw.prompt or "", raw.answer or "", kind) for raw in rows]


def test_there_are_questions_for_every_kind_that_it_knows() -> None:
    assert len(WORKED) == len(KINDS)


def test_right_answers_verify_and_wrong_ones_do_not() -> None:
    told: Counter[tuple[str, bool, str]] = Counter()
    with Verifier(VerifySettings()) as verifier:
        for family in KINDS:
            for wrong in (False, True):
                submissions = []
                for number, (prompt, answer, kind) in enumerate(questions(family, 300)):
                    asked = PROMPTS["solve"].format(prompt=prompt, solution="")
                    worked = work(asked, random.Random(number), wrong)
                    assert worked is not None, prompt
                    submissions.append(Submission(kind, answer, worked.reply, "stop"))
                told.update((family, wrong, verdict.verdict) for verdict in verifier.verify(submissions))
    assert told == {
        (family, wrong, "wrong" if wrong else "correct"): 300 for family in KINDS for wrong in (False, True)
    }


def test_the_thought_is_worked_out_and_sometimes_mends_a_slip() -> None:
    for family in KINDS:
        thoughts = [work(prompt, random.Random(n), False) for n, (prompt, *_) in enumerate(questions(family, 300))]
        assert all(
            worked is not None and "\\boxed" not in worked.thought and len(worked.thought) > 20 for worked in thoughts
        )
        mended = sum(
            any(sign in worked.thought for sign in ("Wait", "but let me check")) for worked in thoughts if worked
        )
        # 30 expected, standard deviation 5.2.
        assert 10 <= mended <= 55, family


def test_the_same_seed_gives_the_same_reply_and_another_seed_may_differ() -> None:
    prompt, *_ = questions("word_sequence_reversal", 1)[0]
    assert work(prompt, random.Random(1), True) == work(prompt, random.Random(1), True)
    assert len({work(prompt, random.Random(seed), True) for seed in range(30)}) > 1


def test_an_unknown_problem_gets_no_answer() -> None:
    assert work("What is the capital of France?", random.Random(0), False) is None


def test_the_share_of_wrong_answers_is_what_was_asked_for() -> None:
    answers = _ask_standin(StandinSettings(wrong=0.1), draws=600)
    wrong = sum("\\boxed{star, moon, sun}" not in answer.reply for answer in answers)
    # 60 expected, standard deviation 7.3.
    assert 35 <= wrong <= 85


def test_replay_gives_the_recorded_answers_by_draw(tmp_path: Path) -> None:
    rows = [
        {"question": "How many?", "a": {"said": "A: 1"}, "b": {"said": "A: 2"}},
        {"question": "How many? And why?", "a": {"said": "A: 3"}, "b": {"said": "A: 4"}},
    ]
    path = tmp_path / "recorded.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    asked = StandinSettings(answers="replay", path=str(path), replies=("a.said", "b.said"))
    recorded = Recorded(asked)
    assert [recorded.find("How many?", seed=seed) for seed in range(4)] == ["A: 1", "A: 2", "A: 1", "A: 2"]
    assert recorded.find("How many? And why?\n\nThink step by step.", seed=1) == "A: 4"
    assert recorded.find("How few?", seed=0) is None
    answers = _ask_standin(asked, draws=4, question="How many?")
    assert [answer.reply for answer in answers] == ["A: 1", "A: 2", "A: 1", "A: 2"]
    with pytest.raises(Unfinished, match=r"knows no answer"):
        _ask_standin(asked, draws=1, question="How few?")


def test_replay_names_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(Stop, match=r"no file .*nowhere\.jsonl"):
        Recorded(StandinSettings(answers="replay", path=str(tmp_path / "nowhere.jsonl"), replies=("a",)))
    path = tmp_path / "recorded.jsonl"
    path.write_text('{"question": "q", "a": "x"}\n{"question": "q"}\n')
    with pytest.raises(Stop, match=r"recorded\.jsonl line 2 has no field 'a'"):
        Recorded(StandinSettings(answers="replay", path=str(path), replies=("a",)))
    path.write_text('{"question": "q", "a": "x"}\n{broken\n')
    with pytest.raises(Stop, match=r"recorded\.jsonl line 2"):
        Recorded(StandinSettings(answers="replay", path=str(path), replies=("a",)))


def test_a_wrong_start_is_one_line(tmp_path: Path) -> None:
    asked = StandinSettings(answers="replay", path=str(tmp_path / "nowhere.jsonl"), replies=("a",))
    command = [sys.executable, "-m", "pipeline.standin.server", "127.0.0.1", "0"]
    ran = subprocess.run(command, cwd=ROOT, input=asked.model_dump_json() + "\n", capture_output=True, text=True)
    assert ran.returncode == 1
    assert ran.stderr.startswith("the stand-in teacher can't start: teacher.standin.path: no file")
    assert ran.stderr.count("\n") == 1


def test_the_shipped_standin_answers_through_all_its_troubles() -> None:
    calm = _ask_standin(StandinSettings())
    rough = _ask_standin(
        StandinSettings(share_429=0.2, share_500=0.02, share_dropped=0.05, retry_after_s=0.05, latency_s=0.01)
    )
    assert len(calm) == 40
    assert [(a.thought, a.reply, a.finish_reason) for a in calm] == [
        (a.thought, a.reply, a.finish_reason) for a in rough
    ]
    assert {answer.outcome for answer in rough} == {"answered"}
    assert sum(answer.attempts for answer in calm) == 40
    assert sum(answer.attempts for answer in rough) >= 45


def test_the_shipped_standin_truncates_and_asks_for_its_key() -> None:
    cut = _ask_standin(StandinSettings(share_truncated=1.0))
    assert {answer.finish_reason for answer in cut} == {"length"}
    assert {answer.reply for answer in cut} == {""}
    with pytest.raises(Stop, match="refuses the key"):
        _ask_standin(StandinSettings(key="right"), key="wrong")


def _ask_standin(
    asked: StandinSettings,
    *,
    draws: int = 40,
    key: str | None = None,
    question: str = BACKWARD,
) -> list[Answer]:
    command = [sys.executable, "-m", "pipeline.standin.server", "127.0.0.1", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(asked.model_dump_json().encode() + b"\n")
        server.stdin.flush()
        address = server.stdout.readline().decode().strip()

        async def several() -> list[Answer]:
            settings = TeacherSettings(model="stand-in", base_url=address)
            async with alone(settings, api_key=key) as teacher:
                return await asyncio.gather(*(teacher.answer(_asking(question, draw)) for draw in range(draws)))

        try:
            return asyncio.run(several())
        finally:
            server.stdin.close()


def _asking(question: str, draw: int) -> Call:
    return call(draw, messages=json.dumps([{"role": "user", "content": question}]))
