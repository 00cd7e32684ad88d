"""A student that can't be used is found out before anything is bought for it."""

from pathlib import Path

import pytest
from tiny import recipe, recorded, run, tiny_model

from cluster.models import probe
from pipeline.errors import Stop


@pytest.mark.ray
@pytest.mark.beside
def test_a_missing_student_is_one_line_and_nothing_is_bought(tmp_path: Path) -> None:
    path = recipe(tmp_path, recorded(tmp_path / "problems.jsonl", problems=3))
    ended = run("run", path)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    last = ended.stderr.strip().splitlines()[-1]
    assert last.startswith("error: model ")
    assert str(tmp_path / "model") in last
    assert not (tmp_path / "runs" / "made" / "ledger").exists()


def test_a_student_without_a_chat_template_is_refused_and_a_whole_one_is_not(tmp_path: Path) -> None:
    folder = tiny_model(tmp_path / "model")
    probe(str(folder))
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    with pytest.raises(Stop, match="has no chat template"):
        probe(str(folder))
