"""Run a function on many small items as a named Ray Data data set, and read what each gives as it comes."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import ray

from cluster.doing import doing
from pipeline.errors import Stop

Item = TypeVar("Item")
Given = TypeVar("Given")


def each(items: Sequence[Item], do: Callable[[Item], Given], *, name: str, cpus: float = 0.5) -> Iterator[Given]:
    """What `do` gives for each item, in the order they are done. Raises the Stop that any of them raises."""
    if not items:
        return
    rows = ray.data.from_items([{"item": item} for item in items], override_num_blocks=len(items))
    rows = rows.map_batches(_one, fn_args=(do,), batch_size=1, num_cpus=cpus)
    rows.set_name(name)
    with doing(name, parts=len(items)) as progress:
        for row in rows.iter_rows():
            # A Stop travels as a value: raised inside a task it would reach the driver wrapped, logged and retried.
            if isinstance(row["given"], Stop):
                raise row["given"]
            progress.add({"parts_done": 1})
            yield row["given"]


def _one(batch: dict[str, Any], do: Callable[[Any], Any]) -> dict[str, list[Any]]:
    try:
        return {"given": [do(batch["item"][0])]}
    except Stop as stop:
        return {"given": [stop]}
