"""Replies that someone else wrote: every row comes out, in order, with the verdict it must have; nothing half done."""

import base64
import gzip
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.score import main
from pipeline.foreign.replies import ReplyFields, replies_of
from pipeline.verdict import Submission, Verdict

ROOT = Path(__file__).resolve().parent.parent
PLAIN = ReplyFields()
DATA = ROOT.parent / "shared" / "data"


def row(number: int, said: str | None = None, **more: Any) -> dict[str, Any]:
    """A row whose answer is its number."""
    reply = f"So it is \\boxed{{{number if said is None else said}}}."
    return {"prompt": f"What is {number}?", "answer": str(number), "reply": reply} | more


def write(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in rows))
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def score(*arguments: object) -> None:
    """The job in this process, with one worker that starts in half a second."""
    main([*(str(argument) for argument in arguments), "--workers", "1"])


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line that the job ends with."""
    with pytest.raises(SystemExit) as stop:
        score(*arguments)
    assert stop.value.code in (1, 2)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    return said.err.removeprefix("error: ").strip()


def test_lines_keep_every_byte_and_gain_three_fields(tmp_path: Path) -> None:
    lines = [
        '{"answer": 18.0, "reply": "It is \\\\boxed{18}", "x": 1.50, "big": 123456789012345678901234567890}',
        '{"x":NaN,"answer":"7","reply":"\\\\boxed{8}","half":"\\ud800"}',
        '{ "answer" : 123456789012345678901234567890, "reply" : "\\\\boxed{123456789012345678901234567891}" } ',
        '{"answer":"5","reply":"\\\\boxed{5}", "ä": "\u2028"}',
    ]
    path, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    path.write_bytes("\r\n\n".join(["\ufeff" + lines[0], *lines[1:]]).encode())
    score(path, "--out", out)
    written = out.read_bytes().decode().removesuffix("\n").split("\n")
    assert len(written) == 4
    for line, after in zip(lines, written, strict=True):
        assert after.startswith(line.rstrip().removesuffix("}").rstrip())
        assert set(json.loads(after)) - set(json.loads(line)) == {"verdict", "found", "why"}
    assert [json.loads(line)["verdict"] for line in written] == ["correct", "wrong", "wrong", "correct"]


def test_what_cannot_be_judged_is_undecided_and_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[tuple[dict[str, Any], tuple[str, str | None]]] = [
        (row(1), ("correct", None)),
        (row(2, answer=None), ("undecided", "no gold answer")),
        (row(3, answer=" "), ("undecided", "no gold answer")),
        (row(4, reply=None), ("undecided", "no reply")),
        ({"answer": "5"}, ("undecided", "no reply")),
        (row(6, reply=""), ("wrong", "no_answer")),
        (row(7, reply=[]), ("undecided", "no reply")),
        (row(8, kind="essay"), ("undecided", "unknown kind 'essay'; there are math, text, choice, code, gym, judge")),
        (
            row(9, kind=["math"]),
            ("undecided", "unknown kind \"['math']\"; there are math, text, choice, code, gym, judge"),
        ),
        (row(10, finish_reason="length"), ("wrong", "truncated")),
        (row(11, reply="<think>it is \\boxed{11}"), ("wrong", "truncated")),
        (row(12, kind="text", answer="a cat", reply="\\boxed{A  cat}"), ("correct", None)),
    ]
    out, figures = tmp_path / "out.jsonl", tmp_path / "m.json"
    score(write(tmp_path / "in.jsonl", [one for one, _ in rows]), "--out", out, "--json", figures)
    for (asked, (verdict, why)), after in zip(rows, read(out), strict=True):
        assert after["verdict"] == verdict, asked
        assert why is None or after["why"] == why
    metrics = json.loads(figures.read_text())
    assert metrics["rows"] == 12
    assert metrics["verdicts"] == {"correct": 2, "wrong": 3, "undecided": 7}
    assert metrics["no_answer"] == 1
    assert metrics["truncated"] == 2 / 12
    assert metrics["pass@1"] == 2 / 5
    assert metrics["reasons"]["undecided"]["no reply"] == 3
    assert "undecided: 3" in capsys.readouterr().out


def test_several_draws_chats_and_nested_fields() -> None:
    user, fields = {"role": "user", "content": "?"}, ReplyFields(reply="out.choices.message", finish="out.choices.end")
    chat = [user, {"role": "assistant", "content": [{"type": "text", "text": "\\boxed{5}"}], "reasoning_content": "6"}]
    choices = [
        {"message": {"role": "assistant", "content": f"\\boxed{{{n}}}"}, "end": end}
        for n, end in ((5, "stop"), (6, "max_tokens"))
    ]

    def asked(reply: Any, fields: ReplyFields = PLAIN, **more: Any) -> list[tuple[str, str]]:
        found = replies_of({"answer": 5, "reply": reply} | more, fields, number=0)
        submissions = [draw.asked for draw in found.draws if isinstance(draw.asked, Submission)]
        assert {one.gold for one in submissions} == {"5"}
        return [(one.reply, one.finish_reason) for one in submissions]

    assert asked(chat) == [("\\boxed{5}", "stop")]
    assert asked([chat, "<think>no</think>\\boxed{6}"]) == [("\\boxed{5}", "stop"), ("\\boxed{6}", "stop")]
    assert asked([*chat, user], finish_reason="LENGTH") == [("\\boxed{5}", "length")]
    # Whatever is said of its end: a thought that never closes came to no answer.
    assert asked(["<think>a", "b"], finish_reason="stop") == [("", "length"), ("b", "stop")]
    talked = "The answer is \\boxed{5}. I used <think> tags"
    assert asked([talked]) == [(talked, "stop")]
    assert asked(["<think>a", "b"]) == [("", "length"), ("b", "stop")]
    assert asked(None, ReplyFields(reply="r.1.text"), r=[{"text": "no"}, {"text": "yes"}]) == [("yes", "stop")]
    assert asked(None, ReplyFields(reply="a.b"), **{"a.b": "whole"}, a={"b": "part"}) == [("whole", "stop")]
    nested = replies_of({"answer": "5", "out": {"choices": choices}}, fields, number=0)
    assert nested.several
    assert [draw.truncated for draw in nested.draws] == [False, True]
    assert replies_of({"answer": "5", "reply": [user]}, fields, number=0).draws[0].asked == Verdict(
        "undecided", None, "no reply"
    )


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        (18.0, "18"),
        (18, "18"),
        (0.5, "0.5"),
        (True, "True"),
        (["4"], "4"),
        ([4, -2.0], "4, -2"),
        (Decimal("1.50"), "1.50"),
    ],
)
def test_answers_of_any_type_become_text(answer: Any, gold: str) -> None:
    asked = replies_of({"answer": answer, "reply": "x"}, ReplyFields(), number=0).draws[0].asked
    assert isinstance(asked, Submission)
    assert asked.gold == gold


def test_rows_with_one_prompt_or_id_are_draws_of_one_problem() -> None:
    def problems(rows: list[dict[str, Any]]) -> int:
        return len({replies_of(one, ReplyFields(), number=at).problem for at, one in enumerate(rows)})

    assert problems([row(1), row(1), row(2)]) == 2
    assert problems([row(1, id=7), row(2, id=7), row(2, id=8)]) == 2
    assert problems([{"answer": "1", "reply": "1"}] * 3) == 3
    assert (
        problems([row(1, prompt=[{"role": "user", "content": "a"}]), row(1, prompt=[{"role": "user", "content": "a"}])])
        == 1
    )


def test_parquet_keeps_its_columns_and_lists_of_draws_get_lists(tmp_path: Path) -> None:
    schema = pa.schema(
        [
            pa.field("answer", pa.decimal128(10, 2), metadata={"of": "us"}),
            ("reply", pa.list_(pa.string())),
            ("when", pa.timestamp("ns", tz="UTC")),
            ("raw", pa.binary()),
            ("tag", pa.dictionary(pa.int8(), pa.string())),
        ],
        metadata={"made": "by hand"},
    )
    rows = [
        {
            "answer": Decimal("5.00"),
            "reply": ["\\boxed{5}", "\\boxed{6}", None],
            "when": 1000,
            "raw": b"\xff",
            "tag": "a",
        },
        {"answer": Decimal("5.50"), "reply": None, "when": None, "raw": None, "tag": None},
        {"answer": Decimal("7.00"), "reply": ["\\boxed{7}"], "when": 2000, "raw": b"", "tag": "b"},
    ]
    path, out, lines = tmp_path / "in.parquet", tmp_path / "out.parquet", tmp_path / "out.jsonl"
    table = pa.Table.from_pylist(rows, schema=schema)
    pq.write_table(table, path)
    score(path, "--out", out)
    score(path, "--out", lines)
    after = pq.read_table(out)
    assert after.select(schema.names).equals(pq.read_table(path), check_metadata=True)
    assert after.schema.metadata == schema.metadata
    assert after["verdict"].to_pylist() == [["correct", "wrong", "undecided"], ["undecided"], ["correct"]]
    assert after["why"].to_pylist()[1] == ["no reply"]
    written = read(lines)
    assert [one["verdict"] for one in written] == [["correct", "wrong", "undecided"], "undecided", ["correct"]]
    assert written[0]["raw"] == base64.b64encode(b"\xff").decode()
    assert written[0]["answer"] == "5.00"


def test_json_rows_of_any_shape_become_parquet(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [row(n) for n in range(40)]
    rows[0] |= {"mixed": 1, "number": 1, "inner": {"a": 1}, "empty": {}, "late": None}
    rows[20] |= {"mixed": "one", "number": 2.5, "inner": {"b": "x"}, "empty": {}, "late": ["z"]}
    rows[39] |= {"mixed": [1], "half": "\ud800"}
    path, out = tmp_path / "in.jsonl.gz", tmp_path / "out.parquet"
    path.write_bytes(gzip.compress("".join(json.dumps(one) + "\n" for one in rows).encode()))
    score(path, "--out", out)
    after = pq.read_table(out).to_pylist()
    assert [one["prompt"] for one in after] == [one["prompt"] for one in rows]
    assert {one["verdict"] for one in after} == {"correct"}
    assert [after[at]["mixed"] for at in (0, 1, 20, 39)] == ["1", None, "one", "[1]"]
    assert [after[at]["number"] for at in (0, 20)] == [1.0, 2.5]
    assert [after[at]["inner"] for at in (0, 20)] == [{"a": 1, "b": None}, {"a": None, "b": "x"}]
    assert (after[0]["empty"], after[20]["late"], after[39]["half"]) == ("{}", ["z"], "?")
    assert set(tmp_path.iterdir()) == {path, out}


BAD_LINES = [
    (b'{"answer": "1", "reply": "1"}\n\n{"answer": \n', "line 3 is not JSON"),
    (b'{"answer": "1", "reply": "1"}\n[1, 2]\n', "line 2 is a list, not an object"),
    (b'{"answer": "1", "reply": "\xff"}\n', "line 1 is not JSON (not UTF-8"),
    ((b'{"a":' * 100_000), "line 1 is not JSON"),
    (b"", "holds no rows"),
    (b"\n \n", "holds no rows"),
    (b'{"answer": "1", "reply": "1", "why": 2, "why_before": 1}\n', "has why and why_before already"),
    (b'{"answer": "1", "said": {"text": "1"}}\n', "no field 'reply' (--reply-field); its fields are answer, said.text"),
]


@pytest.mark.parametrize(("content", "line"), BAD_LINES)
def test_a_file_that_cannot_be_read_is_one_line_and_no_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, line: str
) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(content)
    assert line in refused(capsys, path, "--out", tmp_path / "out.jsonl")
    assert list(tmp_path.iterdir()) == [path]


def test_a_bad_line_far_down_leaves_the_old_output_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = write(tmp_path / "in.jsonl", [row(n) for n in range(3000)]), tmp_path / "out.jsonl"
    with path.open("a") as end:
        end.write('{"answer"')
    out.write_text("what was there")
    assert f"{path} line 3001 is not JSON" in refused(capsys, path, "--out", out)
    assert out.read_text() == "what was there"
    assert set(tmp_path.iterdir()) == {path, out}


def test_wrong_options_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "in.jsonl", [row(1)])
    (tmp_path / "link.jsonl").symlink_to(path)
    torn = tmp_path / "torn.parquet"
    torn.write_bytes(b"PAR1 no more")
    cases: list[tuple[tuple[object, ...], str]] = [
        ((path, "--out", path), "is the file that is read"),
        ((path, "--out", tmp_path / "link.jsonl"), "is the file that is read"),
        ((path, "--out", tmp_path / "out.csv"), "out.csv ends in none of .jsonl"),
        ((tmp_path / "no.jsonl", "--out", "-"), "no.jsonl is not there"),
        ((tmp_path, "--out", "-"), "ends in none of"),
        ((path, "--out", tmp_path / "no" / "out.jsonl"), "the folder"),
        ((path, "--out", "-", "--json", tmp_path / "no" / "m.json"), "the folder"),
        ((path, "--out", "-", "--id-field", "nr"), "no field 'nr' (--id-field); its fields are prompt, answer, reply"),
        ((path, "--out", "-", "--answer-regex", "A: .+"), "--answer-regex 'A: .+': has 0 groups"),
        ((torn, "--out", "-"), "torn.parquet can't be read as Parquet"),
    ]
    for arguments, line in cases:
        assert line in refused(capsys, *arguments)
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
@pytest.mark.parametrize(
    ("own", "name"), [({"id": "aime\x1b-3"}, r"id 'aime\x1b-3'"), ({"id": None}, "row 3")], ids=["id", "no id"]
)
def test_a_k_beyond_the_draws_ends_in_one_line_when_all_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], own: dict[str, Any], name: str, kind: str
) -> None:
    rows = [*[row(1, id="1")] * 4, *[row(3, answer) | own for answer in ("3", "1")]]
    rows.insert(2, rows.pop())
    path, out, figures = tmp_path / f"in.{kind}", tmp_path / "out.jsonl", tmp_path / "m.json"
    pq.write_table(pa.Table.from_pylist(rows), path) if kind == "parquet" else write(path, rows)
    with pytest.raises(SystemExit) as stop:
        score(path, "--out", out, "--json", figures, "--k", "8,2,4")
    assert stop.value.code == 1
    said = capsys.readouterr()
    needs = "pass@4 needs 4 draws a problem (and pass@8 more)"
    assert said.err == f"error: {needs}; {name} of {path} has 2; {out} was written, with all rows\n"
    assert len(read(out)) == 6
    # Of four right draws and of one right in two: any two hold a right one.
    assert json.loads(figures.read_text())["pass@k"] == {"2": 1.0}
    assert "pass@k" in said.out


def test_order_holds_when_some_rows_take_long_and_standard_output_takes_rows(tmp_path: Path) -> None:
    rng = random.Random(5)
    rows = [row(n, f"\\sqrt{{{n}^2}}" if rng.random() < 0.02 else rng.choice([None, "-1"]), nr=n) for n in range(5000)]
    path = write(tmp_path / "in.jsonl", rows)
    command = [sys.executable, "-m", "jobs.score", str(path), "--out", "-", "--workers", "3"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    after = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [one["nr"] for one in after] == list(range(5000))
    wrong = ["-1" in one["reply"] for one in rows]
    assert [one["verdict"] == "wrong" for one in after] == wrong
    assert 1000 < sum(wrong) < 4000
    assert "pass@1" in ran.stderr
    assert list(tmp_path.iterdir()) == [path]


def test_fields_that_are_named_as_ours_are_kept_under_another_name(tmp_path: Path) -> None:
    rows = [row(1, verdict="wrong", why="who knows", big=10**40), row(2)]
    path, out = write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl"
    score(path, "--out", out)
    first, second = read(out)
    assert (first["verdict"], first["verdict_before"], first["why_before"]) == ("correct", "wrong", "who knows")
    assert first["big"] == 10**40
    assert "why_before" not in second
    table, again, lines = (tmp_path / name for name in ("in.parquet", "again.parquet", "again.jsonl"))
    pq.write_table(pa.table({"verdict": [1, 2], "answer": ["1", "2"], "reply": ["1", "3"]}), table)
    score(table, "--out", again)
    assert pq.read_table(again).to_pydict()["verdict"] == ["correct", "wrong"]
    assert pq.read_table(again).to_pydict()["verdict_before"] == [1, 2]
    score(table, "--out", lines)
    assert [one["verdict_before"] for one in read(lines)] == [1, 2]


def test_our_columns_are_replaced_when_asked(tmp_path: Path) -> None:
    rows = [row(1, verdict="wrong", why="who knows", big=10**40), row(2), row(3, found=None)]
    path, out = write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl"
    score(path, "--out", out, "--overwrite-columns")
    after = read(out)
    assert [one["verdict"] for one in after] == ["correct"] * 3
    assert after[0]["big"] == 10**40
    table, again = tmp_path / "in.parquet", tmp_path / "again.parquet"
    pq.write_table(pa.table({"verdict": [1, 2], "answer": ["1", "2"], "reply": ["1", "3"]}), table)
    score(table, "--out", again, "--overwrite-columns")
    assert pq.read_table(again).to_pydict()["verdict"] == ["correct", "wrong"]
    assert pq.read_schema(again).names == ["answer", "reply", "verdict", "found", "why"]


def test_an_interrupted_run_leaves_no_output_and_no_process(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text((json.dumps(row(1)) + "\n") * 200_000)
    codes = {signal.SIGTERM: 143, signal.SIGKILL: -9}
    jobs = {number: begun(path, tmp_path / f"{number.name}.jsonl") for number in codes}
    for number, job in jobs.items():
        out = tmp_path / f"{number.name}.jsonl"
        beside = Path(f"{out}.tmp")
        until = time.monotonic() + 30
        while not beside.exists() or not beside.stat().st_size:
            assert time.monotonic() < until
            time.sleep(0.02)
        children = psutil.Process(job.pid).children(recursive=True)
        os.kill(job.pid, number)
        _, said = job.communicate(timeout=30)
        assert job.returncode == codes[number]
        assert len(children) >= 2
        assert psutil.wait_procs(children, timeout=20)[1] == []
        assert not out.exists()
        assert beside.exists() == (number == signal.SIGKILL)
        assert "Traceback" not in said


def begun(path: Path, out: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "jobs.score", str(path), "--out", str(out), "--workers", "1"]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    def most(rows: int) -> int:
        path = tmp_path / f"{rows}.jsonl"
        path.write_text((json.dumps(row(1, thought="x" * 20_000)) + "\n") * rows)
        program = (
            "import resource, sys\nfrom pathlib import Path\nfrom jobs.score import main\n"
            "if __name__ == '__main__':\n"
            "    main(sys.argv[1:])\n"
            "    mine = Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0]\n"
            "    print(max(int(mine), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))\n"
        )
        script = tmp_path / "most.py"
        script.write_text(program)
        command = [sys.executable, str(script), str(path), "--out", str(tmp_path / "out.jsonl"), "--workers", "1"]
        ran = subprocess.run(
            command, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60
        )
        assert ran.returncode == 0, ran.stderr
        return int(ran.stdout.split()[-1])

    small, large = most(1500), most(6000)
    assert (tmp_path / "6000.jsonl").stat().st_size > 120_000_000
    assert large - small < 30_000, (small, large)


@pytest.mark.ray
@pytest.mark.beside
def test_a_cluster_gives_what_this_machine_gives(tmp_path: Path, shared_ray: str) -> None:
    rows = [row(n, f"\\sqrt{{{n}^2}}" if n % 40 == 0 else None, nr=n) for n in range(600)]
    path = write(tmp_path / "in.jsonl", rows)
    here, there = tmp_path / "here.parquet", tmp_path / "there.parquet"
    command = [sys.executable, "-m", "jobs.score", str(path), "--out", str(there), "--address", shared_ray]
    job = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    score(path, "--out", here)
    said, trouble = job.communicate(timeout=120)
    assert job.returncode == 0, trouble
    assert re.search(r"workers +[1-9]", said)
    assert pq.read_table(there).equals(pq.read_table(here))
    assert pq.read_table(there)["nr"].to_pylist() == list(range(600))


@pytest.mark.data
def test_recorded_solutions_get_the_verdicts_of_their_labels(tmp_path: Path) -> None:
    source = DATA / "gsm8k_model_solutions.jsonl"
    if not source.is_file():
        pytest.skip(f"no {source}: put the project's shared data beside the checkout")
    rows = [
        {
            "prompt": one["question"],
            "gold": {"worked": one["ground_truth"]},
            "model": {"said": said["solution"]},
            "label": said,
        }
        for one in read(source)
        for said in one.values()
        if isinstance(said, dict)
    ]
    path, out, figures = write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl", tmp_path / "m.json"
    fields = ("--reply-field", "model.said", "--answer-field", "gold.worked", "--answer-regex", "A: (.+)")
    score(path, "--out", out, *fields, "--json", figures)
    after = read(out)
    wanted = ["correct" if one["label"]["is_correct"] else "wrong" for one in rows]
    differ = [one for one, label in zip(after, wanted, strict=True) if one["verdict"] != label]
    assert len(after) == 5276
    assert len(differ) <= 5276 // 1000, differ
    metrics = json.loads(figures.read_text())
    # Every problem has four solutions, so the mean over problems is the mean over rows.
    assert metrics["problems"] == 1319
    assert metrics["pass@1"] == pytest.approx(wanted.count("correct") / 5276, abs=1e-3)
