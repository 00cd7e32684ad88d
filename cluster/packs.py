"""Pack a phase's examples into windows on the cluster, and read windows back by number.

packs/<phase>/windows-00000.parquet ... and meta.json, which is written last.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import ray
from pydantic import Field

from cluster.models import local_path
from pipeline.errors import Stop
from pipeline.pack import Document, encode, fitting, pack
from pipeline.settings import Settings
from pipeline.store import Store

_WINDOWS_PER_FILE = 512


class PackMeta(Settings):
    """What a phase's packs hold."""

    windows: int
    """How many windows."""
    window: int = Field(gt=0)
    """Tokens in each."""
    num_tokens: int
    """Tokens that are not padding."""
    examples: int
    """Examples in the windows."""
    too_long: int
    """Examples left out because a window can't hold them."""
    num_labels: tuple[int, ...]
    """Trained tokens of each window."""

    @property
    def padding_fraction(self) -> float:
        """The share of all positions that is padding."""
        return 1 - self.num_tokens / max(1, self.windows * self.window)


def make_packs(
    *, store: Store, folder: str, generations: Sequence[str], model: str, window: int, seed: int, cpus: float
) -> PackMeta:
    """Pack the data set's examples of these generations, in one Ray task. Raises Stop when there are none."""
    made = ray.remote(num_cpus=cpus)(_pack).remote(store, folder, tuple(generations), model, window, seed)
    given = ray.get(made)
    if isinstance(given, Stop):
        raise given
    return given


def read_meta(store: Store, folder: str) -> PackMeta:
    """What `make_packs` wrote last."""
    return PackMeta.model_validate(store.read_json(f"{folder}/meta.json"))


class Windows:
    """Windows by number, a file at a time."""

    def __init__(self, store: Store, folder: str) -> None:
        self.meta = read_meta(store, folder)
        self._read = lru_cache(maxsize=2)(lambda number: store.read_table(f"{folder}/{_file(number)}"))

    def __getitem__(self, number: int) -> dict[str, list[int]]:
        """ids, labels and positions of a window, each `window` long."""
        table = self._read(number // _WINDOWS_PER_FILE)
        row = table.slice(number % _WINDOWS_PER_FILE, 1)
        return {name: row[name][0].as_py() for name in ("ids", "labels", "positions")}


def _pack(
    store: Store, folder: str, generations: tuple[str, ...], model: str, window: int, seed: int
) -> PackMeta | Stop:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(local_path(model))
        documents, too_long = fitting(_documents(store, generations, tokenizer), window=window)
        if not documents:
            return Stop(f"no example of {', '.join(generations)} in dataset/: nothing to train on")
        pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        table = pack(documents, window=window, pad_id=pad_id, seed=seed)
        return _write(store, folder, table, examples=len(documents), too_long=too_long, window=window)
    except Stop as stop:
        return stop


def _documents(store: Store, generations: tuple[str, ...], tokenizer: Any) -> list[Document]:
    wanted = pa.array(generations)
    documents = []
    # What is held back for validation lies beside it.
    for name in (name for name in store.names("dataset", ".parquet") if name.startswith("train-")):
        table = store.read_table(f"dataset/{name}", columns=["messages", "generation"])
        table = table.filter(pc.is_in(table["generation"], value_set=wanted))
        documents += [encode(messages, tokenizer) for messages in table["messages"].to_pylist()]
    return documents


def _write(store: Store, folder: str, table: pa.Table, *, examples: int, too_long: int, window: int) -> PackMeta:
    store.delete_folder(folder)
    for number, start in enumerate(range(0, table.num_rows, _WINDOWS_PER_FILE)):
        store.write_table(f"{folder}/{_file(number)}", table.slice(start, _WINDOWS_PER_FILE))
    meta = PackMeta(
        windows=table.num_rows,
        window=window,
        num_tokens=pc.sum(table["num_tokens"]).as_py(),
        examples=examples,
        too_long=too_long,
        num_labels=tuple(table["num_labels"].to_pylist()),
    )
    store.write_json(f"{folder}/meta.json", meta.model_dump())
    return meta


def _file(number: int) -> str:
    return f"windows-{number:05d}.parquet"
