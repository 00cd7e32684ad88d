"""Looking at rows: which are shown is checked against hand-made files; what is shown, as text on the terminal."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from rows import problem, trace
from s3 import BUCKET, served
from tiny import ROOT, recipe, recorded

from jobs import look
from pipeline.looking.rows import funnel
from pipeline.looking.views import VIEWS
from pipeline.record import Problem, Trace, to_table
from pipeline.store import Store

DROPS = (None, "duplicate", "image", None, "duplicate")


def run(folder: Path | str) -> Store:
    """Two shards of ten problems, four traces, two clusters over two files, a match and a pair."""
    store = Store(str(folder))
    problems = [
        problem(f"Problem {n} has {n} apples", source=("x", "y")[n % 2], drop=DROPS[n % 5], drop_why=None)
        for n in range(20)
    ]
    for shard in range(2):
        store.write_table(f"problems/shard-0000{shard}.parquet", to_table(problems[shard::2], Problem))
    verdicts = ("correct", "wrong", "undecided", None)
    traces = [trace(draw=n, verdict=v, drop=None if v else "refused") for n, v in enumerate(verdicts)]
    store.write_table("traces/shard-00000.parquet", to_table(traces, Trace))
    store.write_table("problems/clusters/part-0.parquet", clusters("aab", kept="100", start=0))
    store.write_table("problems/clusters/part-1.parquet", clusters("ba", kept="10", start=3))
    store.write_table("problems/matches/part-0.parquet", pa.Table.from_pylist([MATCH]))
    store.write_table("dataset/preference/pairs-0.parquet", pa.Table.from_pylist([PAIR]))
    store.write_table(
        "dataset/train-0.parquet", pa.Table.from_pylist([{"messages": PAIR["chosen"], "problem_id": "a"}])
    )
    return store


def clusters(names: str, *, kept: str, start: int) -> pa.Table:
    rows = [
        {
            "cluster": name * 4,
            "id": f"{start + n:032x}",
            "source": "x",
            "kept": mark == "1",
            "drop": None if mark == "1" else "near_duplicate",
            "similarity": 0.5 + n / 10,
            "prompt": f"prompt {start + n}",
            "answer": "1",
        }
        for n, (name, mark) in enumerate(zip(names, kept, strict=True))
    ]
    return pa.Table.from_pylist(rows)


MATCH = {
    "where": "prompt",
    "id": "c" * 32,
    "source": "x",
    "layer": "benchmark_ngram",
    "benchmark": "aime24",
    "benchmark_id": "d" * 32,
    "score": 0.8,
    "shared": "five red apples and",
    "text": "Tom has five red apples and six pears. \x1b]0;owned\x07 Count.",
    "benchmark_text": "Ann buys five red apples and six plums.",
}
PAIR = {
    "problem_id": "e" * 32,
    "prompt": [{"role": "user", "content": "What is it?"}],
    "chosen": [{"role": "assistant", "content": "It is 2."}],
    "rejected": [{"role": "assistant", "content": "It is 3."}],
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return run(tmp_path_factory.mktemp("run"))


def shown(store: Store, *arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    look.main([store.root, *arguments])
    return capsys.readouterr().out


def rows(store: Store, *arguments: str, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in shown(store, *arguments, "--json", capsys=capsys).splitlines()]


def refused(*arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as exit_:
        look.main(arguments)
    caught = capsys.readouterr()
    assert exit_.value.code == 1
    assert len(caught.err.strip().splitlines()) == 1
    assert caught.out == ""
    return caught.err


def test_the_funnel_counts_every_row_once(made: Store) -> None:
    assert funnel(made, VIEWS["problems"]) == {"": Counter({"kept": 8, "duplicate": 8, "image": 4})}
    assert funnel(made, VIEWS["traces"]) == {"": Counter(correct=1, wrong=1, undecided=1, refused=1)}
    assert funnel(made, VIEWS["matches"]) == {"problems/matches": Counter(benchmark_ngram=1)}
    assert funnel(made, VIEWS["dataset"]) == {"": Counter(train=1)}


def test_filters_give_the_rows_that_fit(made: Store, capsys: pytest.CaptureFixture[str]) -> None:
    def prompts(*arguments: str) -> set[int]:
        found = rows(made, "problems", "--limit", "0", *arguments, capsys=capsys)
        return {int(re.findall(r"\d+", row["prompt"])[0]) for row in found}

    assert prompts("--drop", "duplicate") == {1, 4, 6, 9, 11, 14, 16, 19}
    assert prompts("--keep", "--source", "y") == {3, 5, 13, 15}
    assert prompts("--text", r"Problem 1\d") == set(range(10, 20))
    assert prompts("--text", "nothing") == set()
    one = problem("Problem 7 has 7 apples").id
    assert prompts("--id", one[:8]) == {7}
    assert [r["draw"] for r in rows(made, "traces", "--verdict", "wrong", capsys=capsys)] == [1]
    assert rows(made, "traces", "--drop", "refused", "--columns", "draw,drop", capsys=capsys) == [
        {"draw": 3, "drop": "refused"}
    ]
    assert len(rows(made, "pairs", "--text", "It is 3", capsys=capsys)) == 1
    assert rows(made, "pairs", "--text", "It is 4", capsys=capsys) == []


def test_limit_and_seed(made: Store, capsys: pytest.CaptureFixture[str]) -> None:
    def drawn(seed: int, *arguments: str) -> list[str]:
        found = rows(made, "problems", "--limit", "6", "--seed", str(seed), *arguments, capsys=capsys)
        return [row["id"] for row in found]

    assert len(rows(made, "problems", capsys=capsys)) == 5
    assert len(set(drawn(1))) == 6
    assert drawn(1) == drawn(1)
    assert len({tuple(drawn(seed)) for seed in range(5)}) == 5
    # Every row is drawn as often as any other: 200 draws of 6 of 20, 60 expected each.
    seen = Counter(one for seed in range(200) for one in drawn(seed))
    assert len(seen) == 20
    assert max(abs(count - 60) for count in seen.values()) < 30


def test_clusters_are_whole_and_the_kept_row_is_first(made: Store, capsys: pytest.CaptureFixture[str]) -> None:
    found = rows(made, "clusters", "--limit", "0", capsys=capsys)
    assert [(row["cluster"], int(row["id"], 16)) for row in found] == [
        ("aaaa", 0),
        ("aaaa", 1),
        ("aaaa", 4),
        ("bbbb", 3),
        ("bbbb", 2),
    ]
    # One row of it fits; all of it is shown.
    assert len(rows(made, "clusters", "--id", f"{2:032x}", capsys=capsys)) == 2
    assert len(rows(made, "clusters", "--limit", "1", "--seed", "1", capsys=capsys)) in (2, 3)


def test_a_match_marks_the_shared_words_and_lets_no_control_character_through(
    made: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    out = shown(made, "matches", capsys=capsys)
    assert "Tom has [[five red apples and six]] pears." in out
    assert "Ann buys [[five red apples and six]] plums." in out
    assert "<U+001B>]0;owned<U+0007>" in out
    for text in (out, shown(made, "matches", "--json", capsys=capsys)):
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", text)
    assert rows(made, "matches", capsys=capsys)[0]["text"] == MATCH["text"]


def test_a_pair_shows_both_sides(made: Store, capsys: pytest.CaptureFixture[str]) -> None:
    out = shown(made, "pairs", capsys=capsys)
    assert out.index("[user] What is it?") < out.index("[assistant] It is 2.") < out.index("[assistant] It is 3.")


def test_long_texts_are_cut_unless_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(str(tmp_path))
    long = problem("[bold]word[/bold] " * 60_000)
    store.write_table("problems/shard-00000.parquet", to_table([long], Problem))
    out = shown(store, "problems", capsys=capsys)
    assert "1,080,000 characters; --full shows all" in out
    assert "[bold]word[/bold]" in out
    assert len(out) < 3000
    assert len(shown(store, "problems", "--full", capsys=capsys)) > 1_000_000


def test_what_is_not_there_is_said_in_one_line(made: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no run at" in refused(str(tmp_path / "none"), "problems", capsys=capsys)
    said = refused(made.root, "scores", capsys=capsys)
    assert "has no scores: there are problems, clusters, matches, traces, dataset, pairs" in said
    assert "jobs.evaluate" in said
    assert "--verdict can't be asked" in refused(made.root, "problems", "--verdict", "wrong", capsys=capsys)
    assert "is no regular expression" in refused(made.root, "problems", "--text", "(", capsys=capsys)
    assert "no column 'nope'" in refused(made.root, "problems", "--columns", "nope", capsys=capsys)


def test_a_run_is_found_by_its_recipe_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made_by = recipe(tmp_path, recorded(tmp_path / "problems.jsonl", problems=1), student={"model": "made/student"})
    run(tmp_path / "runs" / "made")
    look.main([str(made_by), "problems", "--limit", "1"])
    assert "problems: 20 rows" in capsys.readouterr().out


def test_a_run_on_s3_and_no_ray(tmp_path: Path) -> None:
    with served() as options:
        uri = f"s3://{BUCKET}/made?{options}"
        run(uri)
        program = "import sys; from jobs import look; look.main(sys.argv[1:]); assert 'ray' not in sys.modules"
        command = [sys.executable, "-c", program, uri, "problems", "--drop", "image", "--json"]
        ended = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    assert len(ended.stdout.splitlines()) == 4
