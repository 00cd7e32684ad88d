"""What a model makes of a few texts, and whether two who opened the same model make the same of them.

T tokens of a text, V vocabulary
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch

from pipeline.errors import Stop
from pipeline.store import Store


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
class Found:
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
    "bfloat16": Tolerance(mean=0.1, largest=2.0, clear=1.0),
}
"""By type. float32 only sums in another order. bfloat16 has 8 bits, so a logit of 16 is off by up to 0.06, and rare
tokens, whose logits lie far below the likeliest's, by the most: on CPUs, SmolLM2-135M in bfloat16 over 674 tokens,
transformers came to 0 and vLLM to 0.048 on average and 0.78 at most; with three times its rope_theta transformers came
to 0.18 and 4.2. With 1.1 times, it was 0.045: so small an error hides in bfloat16, and shows in float32."""


def read(logits_TV: torch.Tensor, following_T: torch.Tensor) -> tuple[list[float], list[int], list[float]]:
    """Of positions and the tokens that follow them: `logprobs`, `likeliest` and `margins` of a reading."""
    logprobs_TV = logits_TV.float().log_softmax(-1)
    there_T = logprobs_TV.gather(1, following_T[:, None])[:, 0]
    top = logprobs_TV.topk(2)
    return there_T.tolist(), top.indices[:, 0].tolist(), (top.values[:, 0] - top.values[:, 1]).tolist()


def write_readings(store: Store, name: str, readings: Sequence[Reading]) -> None:
    """Keep what the trainer made of the probes until its export is checked."""
    store.write_json(name, [asdict(reading) for reading in readings])


def read_readings(store: Store, name: str) -> list[Reading]:
    """What `write_readings` kept."""
    return [Reading(**{key: tuple(value) for key, value in each.items()}) for each in store.read_json(name)]


def compare(
    trained: Sequence[Reading], found: Found, *, who: str, eos: Sequence[int], tolerance: Tolerance
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
