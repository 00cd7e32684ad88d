"""Which answers a run puts before its LLM judge, and that no shard is finished before all of them are judged."""

import asyncio
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rows import entry, problem

from cluster.asks import Ask, Judging, TeacherAt
from cluster.collect import Collect
from cluster.judge import Judge
from pipeline.endpoints import TeacherSettings
from pipeline.generate import Generation, Sampling
from pipeline.ledger import Call, Ledger
from pipeline.llm_judge import JudgeSettings
from pipeline.prompts import JUDGING
from pipeline.record import Problem, Trace, from_table, to_table
from pipeline.store import Store
from pipeline.verify import VerifySettings

PART = {"problems": "problems/s.parquet", "ledger": "p", "traces": "traces/s.parquet", "stop": "", "unfinished": ""}


def answer(ledger: Ledger, call: Call, **columns: Any) -> None:
    asyncio.run(ledger.add(entry(**asdict(call), **columns)))


def test_what_the_verifier_leaves_undecided_is_judged_before_its_shard_is_finished(tmp_path: Path) -> None:
    store, ledger = Store(str(tmp_path)), Ledger(Store(str(tmp_path)), "p")
    # With no gold answer the verifier can't decide.
    problems = [problem("What is 1 + 1?"), problem("What is love?", answer="")]
    store.write_table(PART["problems"], to_table(problems, Problem))
    settings = TeacherSettings(model="m", base_url="http://h/v1")
    at = TeacherAt(settings, settings.at(), None)
    generation = Generation(name="long", engine="teacher", draws=2, sampling=Sampling(max_tokens=64))
    ask = Ask(generation, "{prompt}", at, 0)
    for each in problems:
        for call in ask.calls(each):
            answer(ledger, call, reply=f"\\boxed{{{2 + call.draw}}}", cost_usd=0.0)
    judging = Judging(Ask(JudgeSettings(draws=3).generation, JUDGING["judge"], at, 0), "undecided")
    board = SimpleNamespace(add=SimpleNamespace(remote=id))
    judge = Judge(store, judging, [ask], VerifySettings(), "now", board, None)
    collect = Collect(store, [ask], judging, VerifySettings(), "now", board)

    def collected() -> tuple[str, dict[str, Trace]]:
        out = collect({name: [value] for name, value in PART.items()})
        finished = store.exists(PART["traces"])
        name = PART["traces"] if finished else "traces/unfinished/s.parquet"
        traces = from_table(store.read_table(name), Trace)
        assert finished == (out["unfinished"] == [""])
        return out["unfinished"][0], {f"{trace.prompt} {trace.draw}": trace for trace in traces}

    [(calls, _)], _ = judge._wanted(PART["problems"], ledger)
    assert [(call.problem_id, call.draw) for call in calls] == [(problems[1].id, draw) for draw in (0, 1, 2)] * 2
    for call in calls[:-1]:
        answer(ledger, call, reply="Verdict: correct" if call in calls[:3] else "Verdict: wrong", cost_usd=0.01)
    unfinished, traces = collected()
    assert unfinished == "1 calls have no answer in the ledger"
    assert [traces[f"What is love? {draw}"].verdict for draw in (0, 1)] == ["correct", "undecided"]
    answer(ledger, calls[-1], outcome="refused", reply="", why="content policy", cost_usd=0.01)
    unfinished, traces = collected()
    judged = {name: (trace.verdict, trace.judged, trace.why) for name, trace in traces.items()}
    assert judged == {
        "What is 1 + 1? 0": ("correct", None, traces["What is 1 + 1? 0"].why),
        "What is 1 + 1? 1": ("wrong", None, traces["What is 1 + 1? 1"].why),
        "What is love? 0": ("correct", "correct", "judge after: no gold answer"),
        "What is love? 1": ("wrong", "wrong", "judge after: no gold answer"),
    }
    assert [round(trace.judge_usd, 6) for trace in traces.values()] == [0.0, 0.0, 0.03, 0.03]
    # Asked again, nothing is missing.
    [(again, _)], known = judge._wanted(PART["problems"], ledger)
    assert again == calls
    assert {call.key for call in calls} <= known.keys()
