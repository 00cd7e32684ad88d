"""The choice on Ray: the same files from any number of workers and after a run that was cut off; they load."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from rows import trace
from tiny import alone

from cluster import choosing
from cluster.choosing import Choosing, choose
from cluster.each import each
from cluster.session import ClusterSettings, session
from pipeline.choose import ChooseSettings
from pipeline.choosing.figures import Figures
from pipeline.errors import Stop
from pipeline.record import Trace, problem_id, shard_of, to_table
from pipeline.store import Store

pytestmark = [pytest.mark.ray, pytest.mark.beside]

SHARDS = 4
SETTINGS = {
    "per_problem": 2,
    "order": "shortest",
    "quotas": {"subject": {"algebra": {"share_at_most": 0.5}}},
    "target": {"rows": 30},
    "variety": {"per_cluster": 3, "spread": ["cluster"], "apart": True},
    "validation": 0.3,
    "pairs": {"per_problem": 1},
}


def tokenizer(folder: Path) -> Path:
    """A model's folder with nothing but a tokenizer: each byte is a token."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    letters = {letter: number for number, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    bytes_ = Tokenizer(models.BPE(vocab=letters, merges=[]))
    bytes_.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    folder.mkdir()
    bytes_.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    return folder


def problem_traces(number: int) -> list[Trace]:
    """Three draws of a problem, the second wrong; three problems make a cluster, and every fourth has no subject."""
    prompt = f"What is {number} and {number} in all, and what is left?"
    about: dict[str, Any] = {
        "subject": [None, "algebra", "geometry", "algebra"][number % 4],
        "cluster": problem_id(f"cluster {number // 3}"),
    }
    return [
        trace(prompt, draw=0, thought=f"{number} and {number}.", vote=0, **about),
        trace(prompt, draw=1, thought="No.", verdict="wrong", found="0", vote=1, **about),
        trace(prompt, draw=2, thought=f"Twice {number}. Wait.", reply="So \\boxed{2}", vote=0, **about),
    ]


def written(folder: Path, *, reverse: bool = False) -> Store:
    """A run's traces, in shards of which one is empty."""
    store = Store(str(folder))
    shards: dict[int, list[Trace]] = {shard: [] for shard in range(SHARDS)}
    for number in range(40):
        traces = problem_traces(number)
        shards[shard_of(traces[0].id, shards=SHARDS - 1)] += traces
    for shard, traces in shards.items():
        table = to_table(traces[::-1] if reverse else traces, Trace)
        if shard == 0:
            # As an earlier version wrote them.
            table = table.drop_columns(["row", "level", "pass_rate", "pass_draws", "judged", "judge_usd"])
        store.write_table(f"traces/shard-{shard:05d}.parquet", table)
    return store


def run(store: Store, model: Path, begin: Callable[[], None] = list, **settings: Any) -> Figures:
    what = Choosing(
        store=store,
        settings=ChooseSettings(**(SETTINGS | settings)),
        seed=7,
        student=str(model),
        templates={},
        name="test",
        fingerprint=str(len(str(settings))),
    )
    return choose(
        what,
        held_out=frozenset(),
        rules=lambda trace, tokens: None,
        leaks=lambda traces: [None] * len(traces),
        begin=begin,
    )


def content(store: Store) -> dict[str, bytes]:
    names = [*store.names_below("dataset"), *store.names_below("choices")]
    return {name: (Path(store.root) / name).read_bytes() for name in names}


def rows(store: Store, pattern: str) -> list[dict[str, Any]]:
    return [line for path in sorted(Path(store.root).glob(pattern)) for line in pq.read_table(path).to_pylist()]


def test_the_same_files_from_one_process_and_two_workers_and_after_a_cut_and_they_load(
    shared_ray: str, tmp_path: Path
) -> None:
    alone(same_files, tmp_path)


def same_files(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    model = tokenizer(tmp_path / "model")
    store, other = written(tmp_path / "one"), written(tmp_path / "other", reverse=True)
    with session(ClusterSettings()):
        figures = run(store, model).as_json()
        # In another order of rows; cut off after one shard of the last stage, whose shards come one by one.
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(choosing, "each", one_by_one_at_last)
            patched.setattr(choosing, "_write", cut_after_one(choosing._write))
            with pytest.raises(Cut):
                run(other, model)
        assert other.names("choices", ".parquet")
        assert not set(content(other)) >= set(content(store))
        assert run(other, model).as_json() == figures
        with pytest.raises(Stop, match=r"choose\.target\.rows=500: .* are missing"):
            run(store, model, begin=lambda: pytest.fail("makes way for nothing"), target={"rows": 500})
    assert content(other) == content(store)
    assert "dataset/preference/pairs-00000.parquet" in content(store)

    kept, choices = rows(store, "dataset/*.parquet"), rows(store, "choices/*.parquet")
    assert len(kept) == figures["examples"] == 30
    assert len(choices) == 120
    assert Counter(line["drop"] for line in choices if line["drop"]) == figures["dropped"]
    assert sum(figures["splits"].values()) == 30
    assert sum(line["subject"] == "algebra" for line in kept) <= 15
    sides = [{line["cluster"] for line in rows(store, f"dataset/{part}-*.parquet")} for part in ("train", "validation")]
    assert sides[0]
    assert sides[1]
    assert not sides[0] & sides[1]
    assert all(line["student_tokens"] == len(line["messages"][1]["content"]) for line in kept)
    assert max(Counter(line["cluster"] for line in kept).values()) <= 3

    loaded = datasets.load_dataset(
        "parquet", data_files=f"{store.root}/dataset/*.parquet", cache_dir=str(tmp_path / "cache")
    )["train"]
    assert loaded.num_rows == 30
    pairs = rows(store, "dataset/preference/*.parquet")
    assert len(pairs) == figures["pairs"] > 5
    assert not {pair["cluster"] for pair in pairs} & sides[1]
    for pair in pairs:
        assert (pair["chosen_verdict"], pair["rejected_verdict"]) == ("correct", "wrong")
        assert [pair[side][0]["role"] for side in ("prompt", "chosen", "rejected")] == ["user", *["assistant"] * 2]
        assert pair["rejected"][0]["content"].startswith("<think>\nNo.")


class Cut(Exception):
    """Stands for a process that ends."""


def cut_after_one(write: Callable[[Choosing, str], None]) -> Callable[[Choosing, str], None]:
    done: list[str] = []

    def wrapped(what: Choosing, name: str) -> None:
        if done:
            raise Cut
        done.append(name)
        write(what, name)

    return wrapped


def one_by_one_at_last(items: Sequence[str], do: Callable[[str], None], *, name: str) -> Iterator[None]:
    return map(do, items) if name.endswith("-write") else each(items, do, name=name)
