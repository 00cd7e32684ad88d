"""Whether model/ opens elsewhere as what was trained: log-probabilities of a few texts by others against the trainer's.

T tokens, V vocabulary
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Literal

import ray
import torch
from ray.exceptions import RayError, RayTaskError

from cluster.engine import EngineSettings, actor_options, engine_args
from cluster.models import local_path
from cluster.placement import groups_freed
from cluster.session import cores
from cluster.vllm_life import last_line, unusable
from pipeline.errors import Stop
from pipeline.pack import Tokenizer, encode
from pipeline.store import Store

Opener = Literal["transformers", "vllm"]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a model makes of a text of T tokens: each number is of one of its tokens 1 to T-1, after those before it."""

    ids: tuple[int, ...]
    """The text."""
    logprobs: tuple[float, ...]
    """The natural logarithm of the probability of the token that is there."""
    likeliest: tuple[int, ...]
    """The token that the model would rather have had there, or that very one."""
    margins: tuple[float, ...]
    """By how much the likeliest's log-probability is above the second's."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What somebody who opened the folder made of the texts, and at which tokens it would end a reply."""

    readings: tuple[Reading, ...]
    stops: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far two programs may lie apart that reckon the same model in the same type; all in log-probability."""

    mean: float
    """Of the absolute difference, over all tokens."""
    largest: float
    """Of the absolute difference at any one token."""
    clear: float
    """From this margin of the trainer's on both must name the same likeliest token."""


TOLERANCES = {
    "float32": Tolerance(mean=1e-3, largest=1e-2, clear=2e-2),
    "float16": Tolerance(mean=0.01, largest=0.2, clear=0.2),
    "bfloat16": Tolerance(mean=0.05, largest=1.0, clear=1.0),
}
"""By type. float32 only sums in another order. bfloat16 has 8 bits, so a logit of 16 is off by up to 0.06, and rare
tokens, whose logits lie far below the likeliest's, by the most."""


def probe_tokens(
    store: Store, tokenizer: Tokenizer, *, folder: str = "dataset", count: int = 4, most: int = 256
) -> list[tuple[int, ...]]:
    """The tokens of a data set's first `count` examples as they are trained on, each cut to `most`.

    Raises Stop where there is no example.
    """
    names = [name for name in store.names(folder, ".parquet") if name.startswith("train-")]
    tables = (part for name in names for part in store.read_parts(f"{folder}/{name}"))
    rows = (messages for part in tables for messages in part["messages"].to_pylist())
    found = [tuple(encode(messages, tokenizer).ids[:most]) for messages in islice(rows, count)]
    if not found:
        raise Stop(f"{store.address(folder)} has no example to check the export with")
    return found


def trained_readings(engine: Any, probes: Sequence[Sequence[int]]) -> list[Reading]:
    """What the training engine makes of the probes, with the weights as they are; every rank must call it."""
    was_training = engine.module.training
    engine.module.eval()
    try:
        return [_reading(engine.module.model, ids, torch.device(engine.device)) for ids in probes]
    finally:
        engine.module.train(was_training)


def write_readings(store: Store, name: str, readings: Sequence[Reading]) -> None:
    """Keep what the trainer made of the probes until its export is checked."""
    store.write_json(name, [asdict(reading) for reading in readings])


def read_readings(store: Store, name: str) -> list[Reading]:
    """What `write_readings` kept."""
    return [Reading(**{key: tuple(value) for key, value in each.items()}) for each in store.read_json(name)]


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
            found, tolerance = _elsewhere({"num_cpus": 1}, by_transformers, address, probes, dtype), TOLERANCES[dtype]
        else:
            small = _small(engine, probes)
            found, tolerance = _elsewhere(actor_options(small), by_vllm, address, probes, small), TOLERANCES[coarser]
        figures[who] = compare(trained, found, who=who, eos=eos, tolerance=tolerance)
    return figures


def by_transformers(model: str, probes: Sequence[Sequence[int]], dtype: str) -> Opened:
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
    readings = [_reading(opened.eval(), ids, torch.device("cpu")) for ids in probes]
    return Opened(tuple(readings), _numbers(opened.generation_config.eos_token_id))


def by_vllm(model: str, probes: Sequence[Sequence[int]], settings: EngineSettings) -> Opened:
    """Open a model's folder with vLLM. Raises Stop when it can't be."""
    from vllm import LLM, SamplingParams

    try:
        llm = LLM(**engine_args(settings, local_path(model)))
    except (OSError, ValueError, RuntimeError) as error:
        raise unusable(model, error) from error
    # The two likeliest come with the token that is there.
    asked = SamplingParams(temperature=0, max_tokens=1, prompt_logprobs=2)
    outputs = llm.generate([{"prompt_token_ids": list(ids)} for ids in probes], asked, use_tqdm=False)
    readings = [_of_vllm(ids, output.prompt_logprobs) for ids, output in zip(probes, outputs, strict=True)]
    settings_read = llm.llm_engine.model_config.try_get_generation_config()
    return Opened(tuple(readings), _numbers(settings_read.get("eos_token_id")))


def compare(
    trained: Sequence[Reading], found: Opened, *, who: str, eos: Sequence[int], tolerance: Tolerance
) -> dict[str, float]:
    """The mean and the largest difference of a token's log-probability. Raises Stop when they are too large."""
    if missing := set(eos) - set(found.stops):
        raise Stop(f"model/ opened by {who} does not end a reply at token {min(missing)}, which it was trained to")
    places = [
        _Place(number, place, ours, theirs)
        for number, (ours, theirs) in enumerate(zip(trained, found.readings, strict=True))
        for place in range(len(ours.logprobs))
    ]
    if not places:
        raise Stop("no example has a second token: there is nothing to check the export with")
    mean = sum(place.difference for place in places) / len(places)
    worst = max(places, key=lambda place: place.difference)
    if not (mean <= tolerance.mean and worst.difference <= tolerance.largest):
        raise Stop(
            f"model/ opened by {who} is not what was trained: {worst}; the mean difference is {mean:.3g} "
            f"(at most {tolerance.mean:g}, {tolerance.largest:g} at one token)"
        )
    for place in places:
        if place.margin > tolerance.clear and place.other_choice:
            raise Stop(f"model/ opened by {who} is not what was trained: {place}, and its likeliest token is another")
    return {"mean_difference": mean, "largest": worst.difference, "tokens": len(places)}


@dataclass(frozen=True, slots=True)
class _Place:
    """One token of one probe, as the trainer and another read it."""

    probe: int
    place: int
    ours: Reading
    theirs: Reading

    @property
    def difference(self) -> float:
        found = abs(self.ours.logprobs[self.place] - self.theirs.logprobs[self.place])
        # Neither a mean nor a maximum tells of a number that is none.
        return found if found == found else float("inf")

    @property
    def margin(self) -> float:
        return self.ours.margins[self.place]

    @property
    def other_choice(self) -> bool:
        return self.ours.likeliest[self.place] != self.theirs.likeliest[self.place]

    def __str__(self) -> str:
        ours, theirs = self.ours.logprobs[self.place], self.theirs.logprobs[self.place]
        return f"token {self.place + 1} of example {self.probe} has log-probability {theirs:.4g} instead of {ours:.4g}"


@torch.no_grad()
def _reading(model: Any, ids: Sequence[int], device: torch.device) -> Reading:
    logits_TV = model(input_ids=torch.tensor([ids], device=device), use_cache=False).logits[0, :-1].float()
    logprobs_TV = logits_TV.log_softmax(-1)
    there_T = logprobs_TV.gather(1, torch.tensor(ids[1:], device=device)[:, None])[:, 0]
    top = logprobs_TV.topk(2)
    margins = (top.values[:, 0] - top.values[:, 1]).tolist()
    return Reading(tuple(ids), tuple(there_T.tolist()), tuple(top.indices[:, 0].tolist()), tuple(margins))


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


def _elsewhere(options: Mapping[str, Any], work: Callable[..., Opened], *arguments: Any) -> Opened:
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
