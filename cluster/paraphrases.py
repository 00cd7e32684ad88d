"""Look for paraphrases of held-out problems: every kept problem is embedded by vLLM, near pairs are written to judge.

shards of problems -> Embed (an actor pool) -> pairs, to be judged by the same stream that draws all traces
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import ray

from cluster.asks import read_kept
from cluster.engine import EngineSettings, actor_options, engine_args
from cluster.models import local_path
from cluster.placement import groups_freed
from cluster.vllm_life import unusable
from pipeline.alike.paraphrases import ParaphraseSettings, Vectors, pairs
from pipeline.errors import Stop
from pipeline.record import Problem, to_table
from pipeline.store import Store

HeldOut = Sequence[tuple[str, Problem]]
_SHARDS_AT_ONCE = 1


def find_pairs(
    names: Sequence[str],
    *,
    store: Store,
    source: str,
    target: str,
    held_out: HeldOut,
    settings: ParaphraseSettings,
    engine: EngineSettings,
    name: str,
) -> int:
    """Write `target`/NAME with the pairs of `source`/NAME to judge, for each name; returns how many pairs there are.

    A file that is there already is done. Raises Stop when the embedding model can't be opened.
    """
    there = set(store.names(target, ".parquet"))
    missing = [{"name": one} for one in names if one not in there]
    if missing:
        rows = ray.data.from_items(missing, override_num_blocks=len(missing))
        with groups_freed():
            rows = rows.map_batches(
                Embed,
                fn_constructor_args=(store, source, target, held_out, settings, engine),
                batch_size=1,
                compute=ray.data.ActorPoolStrategy(
                    min_size=1, max_size=engine.actors, max_tasks_in_flight_per_actor=_SHARDS_AT_ONCE
                ),
                **actor_options(engine),
            )
            rows.set_name(f"{name}-embed")
            for row in rows.iter_rows():
                if row["stop"]:
                    raise Stop(row["stop"])
    return sum(store.rows(f"{target}/{one}") for one in names)


class Embed:
    """An actor with the embedding model and the vectors of all held-out problems."""

    def __init__(
        self,
        store: Store,
        source: str,
        target: str,
        held_out: HeldOut,
        settings: ParaphraseSettings,
        engine: EngineSettings,
    ) -> None:
        self._store, self._source, self._target = store, source, target
        self._held_out, self._settings = held_out, settings
        self._stop = ""
        try:
            self._embedder = Embedder(settings.embedder, engine)
            self._others = self._embedder.vectors([problem.prompt for _, problem in held_out])
        except Stop as stop:
            # Raised here it would kill the actor, which Ray would start again and again.
            self._stop = str(stop)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """One shard's name in; its pairs are written."""
        name = batch["name"][0]
        if not self._stop:
            problems = read_kept(self._store, f"{self._source}/{name}")
            vectors = self._embedder.vectors([problem.prompt for problem in problems])
            found = pairs(problems, vectors, self._held_out, self._others, self._settings)
            self._store.write_table(f"{self._target}/{name}", to_table(found, Problem))
        return {"stop": [self._stop]}


class Embedder:
    """An embedding model on vLLM; texts longer than its context are cut."""

    def __init__(self, model: str, settings: EngineSettings) -> None:
        from transformers import AutoTokenizer
        from vllm import LLM

        path = local_path(model)
        self._most = settings.max_model_len
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(path)
            # An encoder has no prefix to share.
            args = engine_args(settings, path) | {"enable_prefix_caching": False}
            self._llm = LLM(**args, runner="pooling")
        except (OSError, ValueError, RuntimeError) as error:
            raise unusable(model, error) from error

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """One unit vector a text."""
        if not texts:
            return np.zeros((0, 1), dtype=np.float32)
        tokens = self._tokenizer(list(texts), truncation=True, max_length=self._most)["input_ids"]
        found = self._llm.embed([{"prompt_token_ids": ids} for ids in tokens], use_tqdm=False)
        vectors = np.asarray([one.outputs.embedding for one in found], dtype=np.float32)
        unit: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return unit
