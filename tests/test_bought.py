"""What a run has bought, as jobs.ledger lists it: against sums that the tests take themselves."""

import asyncio
import json
import random
import subprocess
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rows import entry

from pipeline.bought import Group, Sums, bought
from pipeline.errors import Stop
from pipeline.ledger import Entry, Ledger
from pipeline.record import to_table
from pipeline.store import Store

ROOT = Path(__file__).resolve().parent.parent
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()


def add(run: Path, part: str, *entries: Entry) -> None:
    async def all_of_them() -> None:
        ledger = Ledger(Store(str(run)), part)
        await asyncio.gather(*(ledger.add(one) for one in entries))

    asyncio.run(all_of_them())


def listed(*arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "jobs.ledger", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_calls_are_summed_by_engine_day_and_outcome(tmp_path: Path) -> None:
    draw = random.Random(1)
    kinds = [("answered", "stop"), ("answered", "length"), ("refused", "content_filter"), ("failed", "")]
    wanted: dict[tuple[str, str, str], list[float]] = {}
    for number in range(200):
        outcome, finish_reason = draw.choice(kinds)
        engine, days = draw.choice(["a @ h", "b @ h"]), draw.randrange(3)
        figures = [draw.randrange(99), draw.randrange(99), draw.randrange(99), draw.random(), draw.random()]
        name = "truncated" if finish_reason == "length" else outcome
        sums = wanted.setdefault((engine, f"2026-03-0{1 + days}", name), [0] * 6)
        for at, figure in enumerate([1, *figures]):
            sums[at] += figure
        columns = dict(zip(list(asdict(Sums()))[1:], figures, strict=True))
        asked = {"engine": engine, "outcome": outcome, "finish_reason": finish_reason}
        made = entry(number, bought_at=NOON + days * 86400 + number, **asked, **columns)
        add(tmp_path, f"distill/shard-{number % 3:05d}", made)
    Ledger(Store(str(tmp_path)), "distill/shard-00001").merge()
    held = bought(Store(str(tmp_path)))
    assert {(g.engine, g.day, g.outcome) for g in held.groups} == set(wanted)
    for group, sums in held.groups.items():
        assert list(asdict(sums).values()) == pytest.approx(wanted[group.engine, group.day, group.outcome])
    assert held.total.calls == 200
    assert list(held.groups) == sorted(held.groups)
    assert held.torn == []
    assert held.open_usd == {}


def test_what_evaluation_bought_can_be_summed_alone(tmp_path: Path) -> None:
    add(tmp_path, "problems/shard-00000", entry(0, cost_usd=1.0))
    add(tmp_path, "benchmarks/sums/shard-00000", entry(1, cost_usd=0.25, unsure_usd=0.125))
    add(tmp_path, "benchmarks/more/shard-00001", entry(2, cost_usd=0.5))
    held = bought(Store(str(tmp_path)), below="benchmarks").total
    assert (held.calls, held.cost_usd, held.most_usd) == (2, 0.75, 0.875)
    assert bought(Store(str(tmp_path))).total.most_usd == 1.875
    assert bought(Store(str(tmp_path)), below="problems/shard-00001").total.calls == 0


def test_a_day_ends_at_midnight_utc(tmp_path: Path) -> None:
    midnight = datetime(2026, 3, 2, tzinfo=UTC).timestamp()
    add(tmp_path, "a/s", entry(0, bought_at=midnight - 0.5), entry(1, bought_at=midnight))
    for zone in ("Pacific/Kiritimati", "America/Los_Angeles"):
        program = (
            "import sys\nfrom pipeline.bought import bought\nfrom pipeline.store import Store\n"
            "print(*(group.day for group in bought(Store(sys.argv[1])).groups))"
        )
        command = [sys.executable, "-c", program, str(tmp_path)]
        said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, env={"TZ": zone}).stdout
        assert said.split() == ["2026-03-01", "2026-03-02"]


def test_a_merge_that_was_killed_bills_nothing_twice_and_two_bills_are_two(tmp_path: Path) -> None:
    add(tmp_path, "a/s", entry(0, cost_usd=1.0))
    add(tmp_path, "a/s", entry(1, cost_usd=1.0))
    folder = tmp_path / "ledger" / "a" / "s"
    small = {path.name: path.read_bytes() for path in folder.iterdir()}
    Ledger(Store(str(tmp_path)), "a/s").merge()
    for name, content in small.items():
        (folder / name).write_bytes(content)
    assert (bought(Store(str(tmp_path))).total.calls, bought(Store(str(tmp_path))).total.cost_usd) == (2, 2.0)
    # Two processes that raced for one call were billed twice.
    add(tmp_path, "a/s", entry(0, cost_usd=1.0, bought_at=1001.0))
    assert bought(Store(str(tmp_path))).total.cost_usd == 3.0


def test_torn_files_are_named_and_the_rest_is_counted(tmp_path: Path) -> None:
    add(tmp_path, "a/s", entry(0, bought_at=NOON))
    whole = next((tmp_path / "ledger" / "a" / "s").iterdir()).read_bytes()
    for name, content in (("half", whole[: len(whole) // 2]), ("empty", b""), ("other", b"no parquet at all")):
        (tmp_path / "ledger" / "a" / "s" / f"{name}.parquet").write_bytes(content)
    held = bought(Store(str(tmp_path)))
    assert held.groups.keys() == {Group("model @ host", "2026-03-01", "answered")}
    assert held.torn == [f"ledger/a/s/{name}.parquet" for name in ("empty", "half", "other")]
    said = listed(tmp_path)
    assert said.returncode == 0
    assert [line for line in said.stdout.splitlines() if line.startswith("torn: ledger/a/s/half.parquet")]


def test_a_file_of_an_older_version_without_some_columns_counts(tmp_path: Path) -> None:
    table = to_table([entry(0, cost_usd=0.5)], Entry).drop_columns(["unsure_usd", "caller"])
    Store(str(tmp_path)).write_table("ledger/a/s/1.parquet", table)
    held = bought(Store(str(tmp_path)))
    assert (held.total.calls, held.total.cost_usd, held.total.unsure_usd, held.torn) == (1, 0.5, 0.0, [])


def test_what_open_calls_may_have_cost_is_what_their_caller_was_charged_beyond_the_ledger(tmp_path: Path) -> None:
    add(tmp_path, "a/s", entry(0, caller="killed", cost_usd=0.25, unsure_usd=0.25))
    add(tmp_path, "b/s", entry(1, caller="killed", cost_usd=0.5), entry(2, caller="exact", cost_usd=0.5))
    Store(str(tmp_path)).write_json("ledger/open.json", {"killed": 3.0, "exact": 0.5, "silent": 0.125})
    held = bought(Store(str(tmp_path)))
    assert held.open_usd == {"exact": 0.0, "killed": 2.0, "silent": 0.125}
    said = listed(tmp_path)
    assert "3 callers have not closed; their open calls may have cost up to $2.1250" in said.stdout


def test_the_table_and_the_json_say_the_same(tmp_path: Path) -> None:
    add(tmp_path, "a/s", entry(0, engine="[red]m[/red] @ h", cost_usd=1234.5, prompt_tokens=1_234_567, bought_at=NOON))
    table, values = listed(tmp_path), json.loads(listed("--json", tmp_path).stdout)
    assert table.stdout.splitlines()[1].split() == [
        *("[red]m[/red]", "@", "h", "2026-03-01", "answered", "1", "1,234,567", "4", "3", "1,234.5000", "0.0000")
    ]
    assert table.stdout.splitlines()[2].split()[:2] == ["total", "1"]
    total = {"calls": 1, "prompt_tokens": 1_234_567, "thought_tokens": 4, "reply_tokens": 3}
    total |= {"cost_usd": 1234.5, "unsure_usd": 0.0}
    group = {"engine": "[red]m[/red] @ h", "day": "2026-03-01", "outcome": "answered"}
    assert values == {"groups": [group | total], "total": total, "open_usd": {}, "torn": []}


def test_a_folder_that_is_no_run_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path, tmp_path / "nowhere", tmp_path / "file", "nosuch://b/x"):
        said = listed(place)
        assert said.returncode == 1
        assert said.stdout == ""
        assert len(said.stderr.strip().splitlines()) == 1
        assert str(place) in said.stderr
    with pytest.raises(Stop, match="is no run: name a run's folder"):
        bought(Store(str(tmp_path)))


def test_a_run_that_bought_nothing_has_an_empty_table(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("name: x")
    said = listed(tmp_path)
    assert said.returncode == 0
    assert said.stdout.split()[-7:] == ["total", "0", "0", "0", "0", "0.0000", "0.0000"]


def test_memory_does_not_grow_with_the_texts_or_the_shards(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    noise = random.Random(0).randbytes(2_000_000).hex()
    for shard in range(40):
        table = to_table([entry(shard * 4 + n, thought=noise[n:]) for n in range(4)], Entry)
        store.write_table(f"ledger/a/shard-{shard:05d}/1.parquet", table)
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.parquet")) > 75_000_000
    program = (
        "import resource, sys\nfrom pipeline.bought import bought\nfrom pipeline.store import Store\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "assert bought(Store(sys.argv[1])).total.calls == 160\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert int(said) < 60_000, f"{int(said) / 1000:.0f} MB"
