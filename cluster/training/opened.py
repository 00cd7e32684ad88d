"""Whether model/ opens elsewhere as what was trained: transformers and vLLM read a few texts as the trainer did."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import ray
import torch
from ray.exceptions import RayError, RayTaskError

from cluster.engine import EngineSettings, actor_options, engine_args
from cluster.models import local_path
from cluster.placement import groups_freed
from cluster.session import cores
from cluster.training.readings import TOLERANCES, Found, Reading, compare, read
from cluster.vllm_life import last_line, unusable
from pipeline.errors import Stop
from pipeline.store import Store

Opener = Literal["transformers", "vllm"]
_AROUND = 1 << 30


def check_opened(
    store: Store,
    folder: str,
    trained: Sequence[Reading],
    *,
    eos: Sequence[int],
    by: Sequence[Opener],
    dtype: str,
    engine: EngineSettings,
) -> dict[str, dict[str, float]]:
    """Open an exported model elsewhere on the cluster, as its users will, and compare it with what was trained.

    `eos` are the tokens that must end a reply, `dtype` the type that was trained in, `engine` how vLLM is to run.
    Raises Stop with the token that differs most, when the difference is more than the types explain.
    """
    address, probes = store.address(folder), [reading.ids for reading in trained]
    # As vLLM runs in its own type, the coarser of the two decides.
    coarser = max((dtype, engine.dtype), key=lambda name: TOLERANCES[name].mean)
    figures = {}
    for who in dict.fromkeys(by):
        if who == "transformers":
            room = {"num_cpus": 1, "memory": _memory(store, folder)}
            if not _fits(room["memory"]):
                gib = room["memory"] / 2**30
                print(f"warning: not opened by transformers: no node has {gib:,.0f} GiB", file=sys.stderr, flush=True)
                continue
            found, tolerance = _elsewhere(room, by_transformers, address, probes, dtype), TOLERANCES[dtype]
        else:
            small = _small(engine, probes)
            found, tolerance = _elsewhere(actor_options(small), by_vllm, address, probes, small), TOLERANCES[coarser]
        figures[who] = compare(trained, found, who=who, eos=eos, tolerance=tolerance)
    return figures


def _memory(store: Store, folder: str) -> int:
    """Bytes that the weights take in a process, and what is around them."""
    return int(1.2 * sum(store.size(f"{folder}/{name}") for name in store.names(folder, ".safetensors"))) + _AROUND


def _fits(memory: int) -> bool:
    """Whether a node has so much at all; a task that asks for more would wait for ever."""
    return any(node["Alive"] and node["Resources"].get("memory", 0) >= memory for node in ray.nodes())


def by_transformers(model: str, probes: Sequence[Sequence[int]], dtype: str) -> Found:
    """Open a model's folder with transformers, on CPUs. Raises Stop when it can't be."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(cores())
    path = local_path(model)
    try:
        opened, told = AutoModelForCausalLM.from_pretrained(path, dtype=getattr(torch, dtype), output_loading_info=True)
        template = AutoTokenizer.from_pretrained(path).chat_template
    except (OSError, ValueError, RuntimeError) as error:
        raise Stop(f"transformers can't open {model}: {last_line(error)}") from error
    if told["missing_keys"] or told["unexpected_keys"]:
        odd = sorted([*told["missing_keys"], *told["unexpected_keys"]])[0]
        raise Stop(f"{model} does not hold the weights that transformers expects, first {odd}")
    if not template:
        raise Stop(f"{model} has no chat template")
    readings = [_of_transformers(opened.eval(), ids) for ids in probes]
    return Found(tuple(readings), _numbers(opened.generation_config.eos_token_id))


def by_vllm(model: str, probes: Sequence[Sequence[int]], settings: EngineSettings) -> Found:
    """Open a model's folder with vLLM. Raises Stop when it can't be."""
    from vllm import LLM, SamplingParams

    # The two likeliest come with the token that is there.
    asked = SamplingParams(temperature=0, max_tokens=1, prompt_logprobs=2)
    try:
        llm = LLM(**engine_args(settings, local_path(model)))
        outputs = llm.generate([{"prompt_token_ids": list(ids)} for ids in probes], asked, use_tqdm=False)
    except (OSError, ValueError, RuntimeError) as error:
        unread = "training is done; to do without vLLM set train.check_export=[transformers]"
        raise Stop(f"{unusable(model, error)}; {unread}") from error
    readings = [_of_vllm(ids, output.prompt_logprobs) for ids, output in zip(probes, outputs, strict=True)]
    settings_read = llm.llm_engine.model_config.try_get_generation_config()
    return Found(tuple(readings), _numbers(settings_read.get("eos_token_id")))


@torch.no_grad()
def _of_transformers(model: Any, ids: Sequence[int]) -> Reading:
    logits_TV = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, :-1]
    return Reading(tuple(ids), *map(tuple, read(logits_TV, torch.tensor(ids[1:]))))


def _of_vllm(ids: Sequence[int], told: Sequence[Mapping[int, Any] | None]) -> Reading:
    """A reading from vLLM's prompt_logprobs, whose first place is empty."""
    there, likeliest, margins = [], [], []
    for token, known in zip(ids[1:], told[1:], strict=True):
        assert known is not None, "vLLM left out the log-probabilities of a token"
        there.append(known[token].logprob)
        first, second = sorted(known, key=lambda each: known[each].rank)[:2]
        likeliest.append(first)
        margins.append(known[first].logprob - known[second].logprob)
    return Reading(tuple(ids), tuple(there), tuple(likeliest), tuple(margins))


def _numbers(told: int | Sequence[int] | None) -> tuple[int, ...]:
    return () if told is None else (told,) if isinstance(told, int) else tuple(told)


def _small(engine: EngineSettings, probes: Sequence[Sequence[int]]) -> EngineSettings:
    """An engine for a few short texts: the recipe's own, started as soon as it can be."""
    longest = max(len(ids) for ids in probes)
    return engine.model_copy(update={"compile": False, "in_flight": 4, "max_model_len": longest + 1})


def _elsewhere(options: Mapping[str, Any], work: Callable[..., Found], *arguments: Any) -> Found:
    """Run it in a process of its own on the cluster, which gives back its memory with its end."""
    placed = dict(options)
    with groups_freed():
        if in_group := placed.pop("ray_remote_args_fn", None):
            placed |= in_group()
        try:
            return ray.get(ray.remote(**placed, max_calls=1)(work).remote(*arguments))
        except RayTaskError as error:
            raise (error.cause if isinstance(error.cause, Stop) else error) from None
        except RayError as error:
            raise Stop(f"checking the export failed: {last_line(error)}") from error
