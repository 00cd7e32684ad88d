"""A choice that can't be made: its error says how to look at what became of each trace, and that is there."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from cluster.choosing import Choosing, forget
from jobs import look
from jobs.choose import explained
from pipeline.choose import ChooseSettings
from pipeline.errors import BadRecipe, Stop
from pipeline.store import Store

ROWS = [
    {"id": "a" * 32, "source": "sums", "generation": "long", "draw": 0, "drop": None, "drop_why": None},
    {"id": "a" * 32, "source": "sums", "generation": "long", "draw": 1, "drop": "wrong", "drop_why": "found 3, not 4"},
    {"id": "b" * 32, "source": "sums", "generation": "long", "draw": 0, "drop": "too_long", "drop_why": "900 tokens"},
]


def failing(folder: str, *, fingerprint: str, rows: list[dict[str, object]]) -> Choosing:
    """A choice whose traces were judged, one shard with rows and one without."""
    what = Choosing(
        store=Store(folder),
        settings=ChooseSettings(),
        seed=1,
        student="none",
        templates={},
        name="test",
        fingerprint=fingerprint,
    )
    for number, lines in enumerate((rows, [])):
        table = pa.Table.from_pylist(lines, schema=pa.Table.from_pylist(ROWS).schema)
        for place in ("traces", what.candidates):
            what.store.write_table(f"{place}/shard-0000{number}.parquet", table)
    return what


def test_the_error_names_what_to_look_at_and_it_holds_the_last_choice_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for fingerprint, rows in (("one", ROWS[:1]), ("two", ROWS)):
        what = failing(str(tmp_path), fingerprint=fingerprint, rows=rows)
        with pytest.raises(Stop) as stopped, explained(what):
            raise Stop("500 examples are missing")
    command = f"python -m jobs.look {tmp_path} candidates"
    assert str(stopped.value) == (
        f"500 examples are missing; which traces are fit, and why the others are not: {command}"
    )
    look.main([str(tmp_path), "candidates", "--json"])
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["draw"], line["drop"], line["drop_why"]) for line in told] == [
        (0, None, None),
        (1, "wrong", "found 3, not 4"),
        (0, "too_long", "900 tokens"),
    ]
    look.main([str(tmp_path), "candidates", "--drop", "too_long"])
    shown = capsys.readouterr().out
    assert "fit" in shown
    assert "900 tokens" in shown
    assert "found 3" not in shown
    # A choice that is made takes it away.
    forget(what.store)
    with pytest.raises(SystemExit):
        look.main([str(tmp_path), "candidates"])


def test_an_error_before_the_traces_were_judged_stays_as_it_is(tmp_path: Path) -> None:
    what = failing(str(tmp_path), fingerprint="one", rows=ROWS)
    what.store.delete(f"{what.candidates}/shard-00001.parquet")
    with pytest.raises(Stop, match=r"^no tokenizer$"), explained(what):
        raise Stop("no tokenizer")
    with pytest.raises(BadRecipe, match=r"^wrong$"), explained(what):
        raise BadRecipe("wrong")
    assert not what.store.names("choosing/failed")
