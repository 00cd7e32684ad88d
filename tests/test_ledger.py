"""The ledger: an answer that was acknowledged is never lost, whatever is killed and whenever."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from rows import ADDING, call, entry

from pipeline.errors import Stop
from pipeline.ledger import Entry, Ledger, call_key, canonical, spent
from pipeline.record import to_table
from pipeline.store import Store

ROOT = Path(__file__).resolve().parent.parent
PART = "distill/shard-00000"


def ledger(path: Path) -> Ledger:
    return Ledger(Store(str(path)), PART)


async def add_all(to: Ledger, draws: range) -> None:
    await asyncio.gather(*(to.add(entry(draw)) for draw in draws))


def test_an_added_answer_is_on_storage_before_add_returns(tmp_path: Path) -> None:
    async def one_by_one() -> int:
        mine = ledger(tmp_path)
        for draw in range(5):
            await mine.add(entry(draw))
            assert ledger(tmp_path).read()[entry(draw).key] == entry(draw)
        return 5

    assert asyncio.run(one_by_one()) == 5


def test_another_process_reads_what_was_added(tmp_path: Path) -> None:
    asyncio.run(add_all(ledger(tmp_path), range(3)))
    program = (
        "import sys\nfrom pipeline.ledger import Ledger\nfrom pipeline.store import Store\n"
        "print(*Ledger(Store(sys.argv[1]), sys.argv[2]).read())"
    )
    command = [sys.executable, "-c", program, str(tmp_path), PART]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(said.split()) == {entry(draw).key for draw in range(3)}


def test_answers_that_come_together_share_files(tmp_path: Path) -> None:
    asyncio.run(add_all(ledger(tmp_path), range(200)))
    assert len(ledger(tmp_path).read()) == 200
    assert len(Store(str(tmp_path)).names(f"ledger/{PART}")) < 20


def test_an_empty_ledger_has_no_answers(tmp_path: Path) -> None:
    assert ledger(tmp_path).read() == {}
    ledger(tmp_path).merge()


def test_of_two_answers_for_one_call_the_first_bought_stays(tmp_path: Path) -> None:
    first, second = entry(bought_at=1.0, reply="first"), entry(bought_at=2.0, reply="second")
    for order in ((first, second), (second, first)):
        folder = tmp_path / order[0].reply
        for one in order:
            asyncio.run(ledger(folder).add(one))
        assert ledger(folder).read() == {first.key: first}
        ledger(folder).merge()
        assert ledger(folder).read() == {first.key: first}


def test_merging_loses_nothing(tmp_path: Path) -> None:
    for draw in range(6):
        asyncio.run(ledger(tmp_path).add(entry(draw)))
    before = ledger(tmp_path).read()
    ledger(tmp_path).merge()
    assert ledger(tmp_path).read() == before
    assert len(before) == 6
    assert len(Store(str(tmp_path)).names(f"ledger/{PART}")) == 1


def test_a_merge_that_dies_before_it_deletes_is_harmless(tmp_path: Path) -> None:
    for draw in range(6):
        asyncio.run(ledger(tmp_path).add(entry(draw, caller="a", outcome="failed" if draw == 4 else "answered")))
    before = ledger(tmp_path).read()
    folder = tmp_path / "ledger" / PART
    small = sorted(folder.iterdir())
    shutil.copytree(folder, tmp_path / "copy")
    ledger(tmp_path).merge()
    # What a kill between the two halves leaves: the merged file, and some of the small ones.
    for path in small[2:]:
        shutil.copy(tmp_path / "copy" / path.name, path)
    assert len(list(folder.iterdir())) == 5
    once = ledger(tmp_path)
    assert once.read() == before
    assert [failed.draw for failed in once.failed] == [4]
    assert spent(Store(str(tmp_path))).by_caller == pytest.approx({"a": 0.006})
    ledger(tmp_path).merge()
    assert ledger(tmp_path).read() == before
    assert len(list(folder.iterdir())) == 1
    assert spent(Store(str(tmp_path))).by_caller == pytest.approx({"a": 0.006})


def test_a_reader_misses_nothing_while_another_merges(tmp_path: Path) -> None:
    for draw in range(8):
        asyncio.run(ledger(tmp_path).add(entry(draw)))
    wanted = set(ledger(tmp_path).read())

    def add_and_merge() -> None:
        for draw in range(8, 68):
            asyncio.run(ledger(tmp_path).add(entry(draw)))
            ledger(tmp_path).merge()

    missed = []
    with ThreadPoolExecutor(1) as thread:
        merging = thread.submit(add_and_merge)
        while not merging.done():
            missed.append(len(wanted - set(ledger(tmp_path).read())))
        merging.result()
    assert len(missed) > 10
    assert sum(missed) == 0, f"{sum(n > 0 for n in missed)} of {len(missed)} reads missed answers"
    assert len(ledger(tmp_path).read()) == 68


def test_a_kill_loses_no_acknowledged_answer(tmp_path: Path) -> None:
    command = [sys.executable, "-c", ADDING, str(tmp_path), PART]
    seen = 0
    for kill_after in (1, 30, 75):
        child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
        assert child.stdout is not None
        acknowledged = [child.stdout.readline() for _ in range(kill_after)]
        os.kill(child.pid, signal.SIGKILL)
        # A line that the kill cut in two was no acknowledgement.
        acknowledged += [line for line in child.stdout.read().splitlines(keepends=True) if line.endswith(b"\n")]
        child.wait()
        held = ledger(tmp_path).read()
        keys = {line.decode().strip() for line in acknowledged}
        assert "" not in keys
        assert keys <= set(held)
        seen += len(keys)
    assert seen >= 106


def test_an_answer_that_can_not_be_written_stops(tmp_path: Path) -> None:
    (tmp_path / "ledger").write_text("in the way")

    async def both() -> list[object]:
        mine = ledger(tmp_path)
        return await asyncio.gather(mine.add(entry(0)), mine.add(entry(1)), return_exceptions=True)

    results = asyncio.run(both())
    assert [type(result) for result in results] == [Stop, Stop]
    assert "can't write" in str(results[0])


def test_a_key_changes_with_everything_that_decides_the_answer() -> None:
    asked = {"engine": "m @ h", "messages": "[]", "sampling": "{}", "seed": 1, "draw": 1}
    others = [{"engine": "m @ i"}, {"messages": "[1]"}, {"sampling": "{1}"}, {"seed": 2}, {"draw": 2}]
    # Moved from one part to its neighbour, it is another question too.
    others += [{"engine": "m @ h[]", "messages": ""}, {"seed": 0, "draw": 2}, {"messages": "{}", "sampling": "[]"}]
    keys = [call_key(**asked), *(call_key(**{**asked, **other}) for other in others)]
    assert len(set(keys)) == len(keys) == 9
    assert call_key(**asked) == call_key(**dict(reversed(asked.items())))


def test_a_key_is_the_same_in_every_process_and_version() -> None:
    # A golden on purpose: were it to change, everything ever bought would be bought again.
    assert call_key(engine="m", messages="[]", sampling="{}", seed=1, draw=2) == "b7b9ce967018abca0ae8003d32b53c92"


def test_equal_values_have_one_json_text() -> None:
    assert canonical({"b": 1, "a": {"d": 2, "c": "ü"}}) == '{"a":{"c":"ü","d":2},"b":1}'


def test_a_call_and_its_entry_carry_the_same_key() -> None:
    assert entry(3).key == call(3).key
    assert replace(entry(3), reply="other").key == call(3).key


def test_a_failed_write_does_not_block_the_ledger(tmp_path: Path) -> None:
    async def through() -> None:
        mine = ledger(tmp_path)
        (tmp_path / "ledger").write_text("in the way")
        with pytest.raises(Stop):
            await mine.add(entry(0))
        (tmp_path / "ledger").unlink()
        await mine.add(entry(1))

    asyncio.run(through())
    assert list(ledger(tmp_path).read()) == [entry(1).key]


def test_a_file_with_a_damaged_page_or_footer_is_named_as_torn_and_the_rest_is_read(tmp_path: Path) -> None:
    for damage in (slice(40, 140), slice(-40, -12)):
        folder = tmp_path / str(damage.start)
        for draw in range(3):
            asyncio.run(ledger(folder).add(entry(draw)))
        victim = sorted((folder / "ledger" / PART).iterdir())[1]
        content = bytearray(victim.read_bytes())
        content[damage] = b"\xff" * len(content[damage])
        victim.write_bytes(content)
        mine = ledger(folder)
        assert set(mine.read()) == {entry(0).key, entry(2).key}
        assert mine.torn == [victim.name]
        mine.merge()
        assert set(mine.read()) == {entry(0).key, entry(2).key}
        assert victim.exists()


def test_answers_of_a_version_without_the_newer_columns_are_read_and_merged(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    old = to_table([entry(0)], Entry).drop_columns(["unsure_usd", "caller"])
    store.write_table(f"ledger/{PART}/{0:020d}-old.parquet", old)
    asyncio.run(ledger(tmp_path).add(entry(1, unsure_usd=0.25, caller="me")))
    before = ledger(tmp_path).read()
    assert before == {entry(0).key: entry(0), entry(1).key: entry(1, unsure_usd=0.25, caller="me")}
    ledger(tmp_path).merge()
    assert ledger(tmp_path).read() == before
    assert spent(store).by_caller == {"": pytest.approx(0.001), "me": pytest.approx(0.251)}
