"""What a recipe may ask of the choice: which traces are trained on, how many, and in which mix.

The stages that do it are in pipeline/choosing/.
"""

from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from pipeline.settings import Settings


def _texts(groups: Any) -> Any:
    # YAML reads the level 5 as a number; the traces hold texts.
    return {str(name): quota for name, quota in groups.items()} if isinstance(groups, dict) else groups


class Quota(Settings):
    """How many examples a group may or must have; at_most and both shares always hold in what is made."""

    at_least: int | None = Field(default=None, ge=0)
    """The fewest examples."""
    at_most: int | None = Field(default=None, ge=0)
    """The most examples."""
    share_at_least: float | None = Field(default=None, ge=0, le=1)
    """The smallest share of all examples, 0..1."""
    share_at_most: float | None = Field(default=None, ge=0, le=1)
    """The largest share of all examples, 0..1."""

    @model_validator(mode="after")
    def _in_order(self) -> "Quota":
        if all(value is None for value in (self.at_least, self.at_most, self.share_at_least, self.share_at_most)):
            raise ValueError("says nothing: give at_least, at_most, share_at_least or share_at_most")
        for low, high in ((self.at_least, self.at_most), (self.share_at_least, self.share_at_most)):
            if low is not None and high is not None and low > high:
                raise ValueError(f"at least {low} and at most {high} can't both hold")
        return self


Groups = Annotated[dict[str, Quota], BeforeValidator(_texts)]


class Quotas(Settings):
    """Quotas by what a trace is of: `source: {gsm8k: {share_at_most: 0.3}}`. Groups that are not named are free."""

    source: Groups = {}
    """By the source's name."""
    subject: Groups = {}
    """By the source's word for the subject."""
    level: Groups = {}
    """By the source's word for how hard a problem is."""
    generation: Groups = {}
    """By the generation's name."""

    @model_validator(mode="after")
    def _fit(self) -> "Quotas":
        for name in type(self).model_fields:
            total = sum(quota.share_at_least or 0 for quota in getattr(self, name).values())
            if total > 1 + 1e-9:
                raise ValueError(f"{name}: the shares at least sum to {total:g}, more than 1")
        return self


class Band(Settings):
    """Problems whose pass rate is in [low, high), or up to 1 where high is 1, and their share of all examples."""

    low: float = Field(ge=0, le=1)
    """The lowest pass rate."""
    high: float = Field(gt=0, le=1)
    """The pass rate below which the band ends."""
    share: float = Field(ge=0, le=1)
    """The share of all examples, 0..1, kept to less than one example."""

    @model_validator(mode="after")
    def _in_order(self) -> "Band":
        if self.low >= self.high:
            raise ValueError(f"low={self.low:g} must be below high={self.high:g}")
        return self

    @property
    def name(self) -> str:
        """The band as it is written in reasons and summaries."""
        return f"{self.low:g}-{self.high:g}"


class Target(Settings):
    """How much is chosen in all, training and validation together; as much as there is without one."""

    rows: int | None = Field(default=None, gt=0)
    """Exactly so many examples."""
    tokens: int | None = Field(default=None, gt=0)
    """Not more student tokens than this, and as near to it as the examples allow."""

    @model_validator(mode="after")
    def _one(self) -> "Target":
        if self.rows is not None and self.tokens is not None:
            raise ValueError("give rows or tokens, not both")
        return self


class Agreement(Settings):
    """How far the draws of a problem must agree, blind to the gold answer (of one generation)."""

    at_least: float = Field(default=0.0, ge=0, le=1)
    """The share of a problem's draws, 0..1, that gave the same answer as this one, itself included."""
    majority: Literal["any", "gold"] = "any"
    """gold takes a problem's traces only where more draws gave their answer than any other."""


class Variety(Settings):
    """Which come first when not all can be chosen."""

    per_cluster: int | None = Field(default=None, gt=0)
    """The most examples of all problems that say the same (a problem's cluster); none means no limit."""
    spread: tuple[Literal["source", "subject", "level", "cluster", "generation"], ...] = ()
    """Groups of these take turns, the first named above all."""
    apart: bool = False
    """Whether problems whose phrases few others share come first (MinHash over the prompt's pairs of words)."""


class Pairs(Settings):
    """A correct and a wrong trace of one problem and generation, for preference training."""

    per_problem: int = Field(default=1, gt=0)
    """The most pairs of a problem in each generation; each trace is in one pair only."""
    chosen: Literal["dataset", "fit"] = "dataset"
    """Where the correct one is from: the training examples, or also fit traces that were not needed there."""


class ChooseSettings(Settings):
    """Which traces a student is trained on."""

    per_problem: int = Field(default=1, gt=0)
    """The most correct traces kept for a problem, in each generation."""
    order: Literal["draw", "shortest", "longest", "seeded"] = "draw"
    """Which of a problem's correct traces come first: the first drawn, by their student tokens, or by the seed."""
    thought: Literal["needed", "any"] = "any"
    """needed drops traces without a thought."""
    agreement: Agreement = Agreement()
    """How far the draws of a problem must agree."""
    variety: Variety = Variety()
    """Which come first when not all can be chosen."""
    quotas: Quotas = Quotas()
    """How many of a source, subject, level or generation."""
    difficulty: tuple[Band, ...] = ()
    """The mix of pass rates. Where the shares sum to 1, problems outside of all bands are left out."""
    target: Target = Target()
    """How much is chosen in all."""
    allow_short: bool = False
    """Whether to make what there is when a target, or a quota's at_least, can't be met; else that is an error."""
    validation: float = Field(default=0.0, ge=0, le=0.5)
    """The share of problem clusters, 0..0.5, whose examples are held back in dataset/validation-*.parquet."""
    pairs: Pairs | None = None
    """Preference pairs in dataset/preference/; none are made without it."""

    @model_validator(mode="after")
    def _bands_fit(self) -> "ChooseSettings":
        bands = sorted(self.difficulty, key=lambda band: band.low)
        for one, other in pairwise(bands):
            if one.high > other.low:
                raise ValueError(f"difficulty: the bands {one.name} and {other.name} overlap")
        total = sum(band.share for band in bands)
        if total > 1 + 1e-9:
            raise ValueError(f"difficulty: the shares sum to {total:g}, more than 1")
        return self
