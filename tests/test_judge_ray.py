"""An LLM judge and several teachers on Ray, over real sockets: judged once and measured side by side."""

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny import recipe, recorded, succeed, summary

pytestmark = [pytest.mark.ray, pytest.mark.beside, pytest.mark.usefixtures("shared_ray")]


def source(name: str, path: Path, **more: Any) -> dict[str, Any]:
    return {"name": name, "format": "jsonl", "path": str(path), "fields": {"prompt": "question"}, **more}


def made(folder: Path) -> Path:
    """24 sums whose answers are compared by value and 12 that only a judge may compare; 6 more to be measured on.

    The judge is wrong about every fourth question or so. `other` gives each problem's second answer only.
    """
    problems = recorded(folder / "problems.jsonl", problems=42)
    lines = problems.read_text().splitlines(keepends=True)
    parts = {"sums": lines[:24], "told": lines[24:36], "held": lines[36:]}
    for name, part in parts.items():
        (folder / f"{name}.jsonl").write_text("".join(part))
    other = {"answers": "replay", "path": str(problems), "replies": ["replies.b"]}
    price = {"prompt_usd_per_mtok": 0.0, "completion_usd_per_mtok": 1.0}
    return recipe(
        folder,
        problems,
        sources=[source("sums", folder / "sums.jsonl"), source("told", folder / "told.jsonl", kind="judge")],
        budget_usd=1.0,
        judge={"engine": "judge", "asks": "all", "draws": 3},
        evaluate={
            "benchmarks": {"held": source("held", folder / "held.jsonl", kind="judge", rows=6)},
            "models": ["teacher", "other"],
            "teachers": {
                "judge": {"model": "judge", "standin": {"answers": "worked", "wrong": 0.25}, **price},
                "other": {"model": "other", "standin": other, **price},
            },
            "sampling": {"max_tokens": 64},
            "draws": 2,
            "thought_budgets": [4],
            "answer_tokens": 8,
        },
    )


def table(folder: Path, name: str) -> pa.Table:
    return pa.concat_tables(pq.read_table(file) for file in sorted((folder / "runs" / "made" / name).glob("*.parquet")))


def test_a_judge_is_asked_once_and_further_teachers_are_measured_beside_the_first(tmp_path: Path) -> None:
    path = made(tmp_path)
    priced = ["teacher.prompt_usd_per_mtok=0", "teacher.continues=continue_final_message"]
    succeed("curate", path, *priced)
    succeed("distill", path, *priced)
    told, traces = summary(tmp_path, "distill"), table(tmp_path, "traces")
    rows = traces.to_pylist()
    # What is really right: the first answer always, the second for even n.
    right = {}
    for line in (tmp_path / "problems.jsonl").read_text().splitlines():
        row = json.loads(line)
        right |= {(row["question"], reply): f"{{{row['answer']}}}" in reply for reply in row["replies"].values()}
    judged = {kind: [row for row in rows if row["kind"] == kind] for kind in ("math", "judge")}
    assert (len(judged["math"]), len(judged["judge"])) == (48, 24)
    for row in judged["math"]:
        reply = row["reply"] if not row["thought"] else f"<think>\n{row['thought']}\n</think>\n\n{row['reply']}"
        assert (row["verdict"] == "correct") == right[row["prompt"], reply]
        assert not row["why"].startswith("judge")
    for row in judged["judge"]:
        assert row["verdict"] == row["judged"] in ("correct", "wrong")
        assert row["why"] in ("judge: 2 of 3", "judge: 3 of 3")
    pairs = [(row["verdict"], row["judged"]) for row in judged["math"]]
    agree = sum(mine == other for mine, other in pairs)
    assert told["judge"]["judged"] == 72
    assert (told["judge"]["agree"], told["judge"]["disagree"]) == (agree, 48 - agree)
    # Three draws, each wrong with 1/4: the majority is wrong with 5/32.
    assert 30 <= agree < 48
    assert 0 < told["judge"]["kappa"] < 1
    # Equal replies to a problem are one question, asked and paid once.
    questions = {(row["prompt"], row["reply"]) for row in rows}
    assert sum(row["judge_usd"] > 0 for row in rows) == len(questions) == 54
    assert told["cost_usd"] == pytest.approx(sum(row["cost_usd"] + row["judge_usd"] for row in rows))

    shutil.rmtree(tmp_path / "runs" / "made" / "traces")
    succeed("distill", path, *priced)
    again = summary(tmp_path, "distill")
    assert (again["calls"]["bought"], again["cost_usd"], again["judge"]) == (0, 0.0, told["judge"])
    assert table(tmp_path, "traces").equals(traces)

    succeed("evaluate", path, *priced)
    scores = summary(tmp_path, "evaluate")["models"]
    samples = {name: scores[name]["held"]["samples"] for name in scores}
    assert samples == {"teacher": 12, "teacher@4": 12, "other": 12}
    engines = {name: set(table(tmp_path, f"scores/held/{name}")["engine"].to_pylist()) for name in scores}
    assert len(engines["teacher"] | engines["other"]) == 2
    replies = table(tmp_path, "scores/held/other")["reply"].to_pylist()
    assert sorted(replies) == sorted(2 * [f"\\boxed{{{2 * n + n % 2}}}" for n in range(36, 42)])
    # Four tokens: the first answer's thought is cut and its end forced, the second is short enough.
    columns = ("draw", "thought", "reply", "finish_reason")
    rows = [tuple(row[name] for name in columns) for row in table(tmp_path, "scores/held/teacher@4").to_pylist()]
    forced = [(0, f"{n} twice", f"Final answer:\\boxed{{{2 * n}}}", "stop") for n in range(36, 42)]
    short = [(1, "", f"\\boxed{{{2 * n + n % 2}}}", "stop") for n in range(36, 42)]
    assert sorted(rows) == sorted(forced + short)
    # It can't go on from a prefix.
    assert not (tmp_path / "runs" / "made" / "scores" / "held" / "other@4").exists()
