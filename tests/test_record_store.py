"""Rows and their ids; a run's folder whose files are written whole or not at all."""

import errno
import os
import shutil
import subprocess
import sys
import unicodedata
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from rows import problem, trace

from pipeline.errors import Stop
from pipeline.record import Problem, Trace, from_table, problem_id, schema_of, shard_of, to_table
from pipeline.store import Store

ROOT = Path(__file__).resolve().parent.parent


def test_an_id_ignores_only_what_no_reader_sees() -> None:
    accented = "Ren\u00e9 has 2 apples."
    assert problem_id(accented) == problem_id(unicodedata.normalize("NFD", accented))
    assert problem_id(" René  has\n2 apples. ") == problem_id(accented)
    others = ["René has 3 apples.", "rené has 2 apples.", "René has 2 apples", "Renéhas 2 apples."]
    assert len({problem_id(text) for text in [accented, *others]}) == 5


def test_an_id_is_the_same_in_every_process() -> None:
    # Written down once: an id that changes between versions loses every bought answer's problem.
    program = "from pipeline.record import problem_id; print(problem_id('What is 1 + 1?'))"
    said = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert said.strip() == problem_id("What is 1 + 1?")
    assert len(said.strip()) == 32


def test_shards_are_even_and_within_range() -> None:
    counts = [0] * 16
    for number in range(8000):
        counts[shard_of(problem_id(f"problem {number}"), shards=16)] += 1
    assert sum(counts) == 8000
    # 500 expected, standard deviation 22.
    assert min(counts) > 390
    assert max(counts) < 610


def test_a_table_gives_back_its_rows() -> None:
    held = [problem(), problem("Ünï ☃ \x00 \\frac{1}{2}", drop="image", drop_why="[asy]", answer="")]
    assert from_table(to_table(held, Problem), Problem) == held
    traces = [trace(), trace(verdict=None, found=None, why=None, drop="refused", cost_usd=0.0)]
    assert from_table(to_table(traces, Trace), Trace) == traces
    assert from_table(to_table([], Trace), Trace) == []


def test_further_columns_are_left_out() -> None:
    table = to_table([problem()], Problem).append_column("more", pa.array([1]))
    assert from_table(table, Problem) == [problem()]


def test_only_columns_that_may_be_missing_are_nullable() -> None:
    nullable = [field.name for field in schema_of(Trace) if field.nullable]
    told = ["row", "subject", "level", "cluster", "pass_rate", "pass_draws"]
    assert nullable == [*told, "verdict", "found", "why", "drop", "vote", "judged"]
    raw = ["raw_prompt", "raw_answer"]
    assert {field.name for field in schema_of(Problem) if field.nullable} == {*told, *raw, "drop", "drop_why"}


def test_a_trace_begins_with_its_problem() -> None:
    kept = [name for name in schema_of(Problem).names if not name.startswith(("drop", "raw"))]
    assert schema_of(Trace).names[: len(kept)] == kept


def test_a_store_reads_what_it_wrote(tmp_path: Path) -> None:
    for root in (str(tmp_path / "a run"), f"file://{tmp_path}/by-uri"):
        store = Store(root)
        rows = [problem(), replace(problem("two"), drop="image")]
        store.write_table("problems/shard-00000.parquet", to_table(rows, Problem))
        store.write_json("summary/curate.json", {"in": 2})
        store.write_bytes("recipe.yaml", "näme".encode())
        assert from_table(store.read_table("problems/shard-00000.parquet"), Problem) == rows
        assert store.read_table("problems/shard-00000.parquet", columns=["id"]).column_names == ["id"]
        assert store.read_json("summary/curate.json") == {"in": 2}
        assert store.read_text("recipe.yaml") == "näme"
        assert store.names("problems") == ["shard-00000.parquet"]
        assert store.names("problems", ".json") == []
        assert store.exists("problems/shard-00000.parquet")
        assert not store.exists("problems/shard-00001.parquet")
        assert store.names("nowhere") == []
        store.delete("recipe.yaml")
        store.delete("recipe.yaml")
        store.delete_folder("problems")
        store.delete_folder("problems")
        assert not store.exists("problems")
        assert not store.exists("recipe.yaml")
    assert (tmp_path / "by-uri" / "summary" / "curate.json").is_file()


def test_a_parquet_file_opens_elsewhere_by_its_address(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    store = Store(str(tmp_path))
    store.write_table("traces/shard-00000.parquet", to_table([trace()], Trace))
    assert pq.read_table(store.address("traces/shard-00000.parquet")).num_rows == 1


def test_copy_folder_copies_files_byte_for_byte(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    contents = {"a": b"", "b.bin": os.urandom(5_000_000), "c d": b"x"}
    for name, content in contents.items():
        store.write_bytes(f"model/{name}", content)
    store.copy_folder("model", "kept")
    assert {name: (tmp_path / "kept" / name).read_bytes() for name in store.names("kept")} == contents


def test_a_write_that_breaks_off_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.write_json("a.json", {"old": True})
    with pytest.raises(TypeError):
        store.write_json("a.json", object())
    assert store.read_json("a.json") == {"old": True}
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_killed_write_is_no_file(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys\nfrom pipeline.store import Store\n"
        "with Store(sys.argv[1])._whole('traces/a.parquet') as sink:\n"
        "    sink.write(b'half'); sink.flush(); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ran = subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=ROOT)
    assert ran.returncode == -9
    assert len(os.listdir(tmp_path / "traces")) == 1
    assert Store(str(tmp_path)).names("traces") == []
    assert not list((tmp_path / "traces").glob("*.parquet"))


def test_a_file_over_the_limit_stops_with_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    # RLIMIT_FSIZE: the kernel refuses the write itself, as it does on a full disk.
    program = (
        "import resource, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", program + _WRITES, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert said.count(f"can't write {tmp_path}") == 2, said
    assert said.count(os.strerror(errno.EFBIG)) == 2
    assert os.listdir(tmp_path / "x") == []


def test_a_full_disk_stops_with_the_fix_and_leaves_nothing(tmp_path: Path) -> None:
    command = [*_on_a_small_disk(tmp_path), _WRITES, str(tmp_path)]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert said.count("no space is left on the disk: free some and run the same command again") == 2, said
    assert "left: []" in said


def test_a_place_that_can_not_be_written_stops_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(Stop, match=r"can't write .*/file/a\.json: "):
        Store(str(tmp_path)).write_json("file/a.json", 1)


def test_storage_of_an_unknown_kind_stops() -> None:
    with pytest.raises(Stop, match="can't open storage nosuch://bucket/x"):
        Store("nosuch://bucket/x").names("")


_WRITES = """
import os, sys
import pyarrow as pa
from pipeline.errors import Stop
from pipeline.store import Store
store = Store(sys.argv[1])
table = pa.table({"noise": [os.urandom(4096) for _ in range(600)]})
for write in (lambda: store.write_bytes("x/a.bin", bytes(2_000_000)), lambda: store.write_table("x/a.parquet", table)):
    try:
        write()
    except Stop as stop:
        print(stop)
print("left:", os.listdir(sys.argv[1] + "/x"))
"""


def _on_a_small_disk(path: Path) -> list[str]:
    """A command that runs Python where `path` is a file system of 1 MB; skips where the kernel gives none."""
    mount = f"mount -t tmpfs -o size=1m none {path}"
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "sh", "-c", mount]).returncode != 0:
        pytest.skip("this machine gives no file system of one's own (unshare -rm mount)")
    return ["unshare", "-rm", "sh", "-c", f'{mount} && exec "$0" -c "$@"', sys.executable]
