"""What a recipe says of its teacher: which endpoints serve it, how they are asked, how fast, and what it costs."""

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from pipeline.ledger import canonical
from pipeline.limits import LimitSettings
from pipeline.settings import Settings
from pipeline.standin.settings import StandinSettings

_ADDRESS = re.compile(r"https?://[^/@?#\s]+(?:/[^@?#\s]*)?")
_ENVIRONMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OWN_FIELDS = {"model", "messages", "n", "seed", "stream", "stream_options", "max_tokens", "max_completion_tokens"}
# What a chat template may add around one message.
_TOKENS_A_MESSAGE = 64


def _checked(address: str) -> str:
    if not _ADDRESS.fullmatch(address):
        raise ValueError("base_url must be like https://api.example.com/v1, with no user, password or query in it")
    return address


def _variable(name: str) -> str:
    if not _ENVIRONMENT.fullmatch(name):
        raise ValueError("must be the name of an environment variable (letters, digits, _), never the key itself")
    return name


Variable = Annotated[str, AfterValidator(_variable)]
"""The name of an environment variable."""


class EndpointSettings(Settings):
    """One of several places that serve the same teacher."""

    base_url: str
    """The API's address up to /v1, such as https://api.example.com/v1."""
    api_key_env: Variable | None = None
    """The name (not the value) of the environment variable that holds the key, on every node."""
    api_key_file: str | None = None
    """A file that holds the key and nothing else, on every node."""
    model: str | None = None
    """The model's name there, where it differs from teacher.model."""
    weight: float = Field(default=1.0, gt=0)
    """Its share of the calls, against the other endpoints' weights."""
    limits: LimitSettings | None = None
    """How fast it may be asked; none takes teacher.limits."""

    @field_validator("base_url")
    @classmethod
    def _address(cls, address: str) -> str:
        return _checked(address)

    @property
    def key_from(self) -> str:
        """Where its key comes from, for people."""
        return self.api_key_env or self.api_key_file or ""


class BatchSettings(Settings):
    """The provider's batch API: slower, and usually at half the price."""

    calls: int = Field(default=1000, gt=0)
    """The most calls in one batch."""
    gather_s: float = Field(default=5.0, gt=0)
    """Seconds without a further call after which a smaller batch is sent."""
    poll_s: float = Field(default=30.0, gt=0)
    """Seconds between two looks at a batch."""
    completion_window: str = "24h"
    """How long the provider may take."""
    price: float = Field(default=0.5, gt=0, le=1)
    """What a batch costs, as a share of the plain price."""


class TeacherSettings(Settings):
    """An OpenAI-compatible teacher and what it costs."""

    operational: ClassVar[frozenset[str]] = frozenset(
        {"base_url", "api_key_env", "api_key_file", "endpoints", "limits", "stream", "in_flight", "actors", "batch"}
        | {"connect_timeout_s", "idle_timeout_s", "max_attempts", "patience_s", "continues"}
        | {"prompt_usd_per_mtok", "cached_usd_per_mtok", "completion_usd_per_mtok"}
    )

    model: str
    """The model's name as the endpoint knows it."""
    base_url: str | None = None
    """The API's address up to /v1, such as https://api.example.com/v1; none with `endpoints` or `standin`."""
    endpoints: tuple[EndpointSettings, ...] = ()
    """Several places that serve the same model, in place of base_url: calls are shared out by weight, and go to the
    others while one fails. Needs served_by."""
    served_by: str | None = None
    """Names who serves the model, in the ledger's keys. None takes the address's host, so another host is asked anew;
    set it to keep what was bought when the address changes."""
    api_key_env: Variable | None = None
    """The name (not the value) of the environment variable that holds the key, on every node."""
    api_key_file: str | None = None
    """A file that holds the key and nothing else, on every node; in place of api_key_env."""
    limits: LimitSettings = LimitSettings()
    """How fast each endpoint may be asked, by all callers together."""
    batch: BatchSettings | None = None
    """Buys through the provider's batch API (/v1/files and /v1/batches) instead of one request a call."""
    stream: bool = True
    """Server-sent events; off only for endpoints that have none."""
    send_seed: bool = True
    """Whether each draw sends its own `seed`; off for endpoints that refuse it."""
    max_tokens_field: str = "max_tokens"
    """What the endpoint calls the cap: max_tokens, or max_completion_tokens."""
    extra_body: dict[str, Any] = {}
    """Further fields of every request, such as {reasoning_effort: high}."""
    continues: Literal["no", "continue_final_message", "prefix"] = "no"
    """How the endpoint goes on from the start of an answer: not at all, as vLLM and SGLang (continue_final_message), or
    as DeepSeek (prefix: true on the assistant's message)."""
    in_flight: int = Field(default=64, gt=0)
    """Calls open at once in each calling actor; a killed actor loses no more than these."""
    actors: int = Field(default=1, gt=0)
    """The most calling actors; in_flight x actors calls are open at once."""
    connect_timeout_s: float = 30.0
    """Seconds to open a connection."""
    idle_timeout_s: float = 600.0
    """Seconds without a byte before an answer is given up and asked again."""
    max_attempts: int = Field(default=6, gt=0)
    """Tries of one call through errors before it is left for the next run; 429 does not count, nor does an endpoint
    that can't be reached for a while after it has answered."""
    patience_s: float = 3600.0
    """Seconds one call may be in trouble in all, through 429s and outages, before it is left for the next run."""
    prompt_usd_per_mtok: float | None = Field(default=None, ge=0)
    """Price of a million prompt tokens, USD; none means unknown."""
    cached_usd_per_mtok: float | None = Field(default=None, ge=0)
    """Price of a million cached prompt tokens, USD; none means the prompt's price."""
    completion_usd_per_mtok: float | None = Field(default=None, ge=0)
    """Price of a million completion tokens, thought included, USD; none means unknown."""
    standin: StandinSettings | None = None
    """Starts the stand-in teacher on this machine instead of asking a real one."""

    @model_validator(mode="after")
    def _one_address(self) -> "TeacherSettings":
        given = [self.base_url is not None, bool(self.endpoints), self.standin is not None]
        if sum(given) != 1:
            raise ValueError("needs either base_url (an API's address up to /v1), endpoints or standin, and only one")
        if self.base_url is not None:
            _checked(self.base_url)
        if self.endpoints and self.served_by is None:
            raise ValueError("endpoints need served_by: one name for all of them, which the ledger's keys carry")
        if self.endpoints and (self.api_key_env or self.api_key_file):
            raise ValueError("with endpoints, each endpoint names its own key")
        if own := _OWN_FIELDS & self.extra_body.keys():
            raise ValueError(f"extra_body must not hold {', '.join(sorted(own))}: the recipe says these elsewhere")
        if self.api_key_env and self.api_key_file:
            raise ValueError("api_key_env and api_key_file are both set: name one of them")
        if self.batch is not None and len(self.endpoints) > 1:
            raise ValueError("batch takes one endpoint: a batch lies at the provider that it was sent to")
        if self.batch is not None and self.actors > 1:
            raise ValueError("batch takes actors=1: one process holds all batches, and they cost it nothing")
        return self

    @property
    def identity(self) -> str:
        """Who answers, for the ledger's keys: model, who serves it, and what else goes into every request."""
        served_by = self.served_by
        if served_by is None:
            served_by = self.standin.identity if self.standin else (self.base_url or "").split("/")[2]
        extra = f" {canonical(self.extra_body)}" if self.extra_body else ""
        return f"{self.model} @ {served_by}{extra}"

    @property
    def priced(self) -> bool:
        """Whether it is known what a token costs."""
        return self.prompt_usd_per_mtok is not None and self.completion_usd_per_mtok is not None

    def at(self, address: str | None = None) -> tuple[EndpointSettings, ...]:
        """Its endpoints; `address` is where a stand-in was started."""
        if self.endpoints:
            return self.endpoints
        address = address or self.base_url
        assert address is not None, "a stand-in is started before it is asked"
        return (EndpointSettings(base_url=address, api_key_env=self.api_key_env, api_key_file=self.api_key_file),)

    def cost(self, *, prompt: int, cached: int, completion: int) -> float:
        """USD for so many tokens (`cached` are part of `prompt`); 0 for what has no known price."""
        price = self.prompt_usd_per_mtok or 0.0
        cached_price = price if self.cached_usd_per_mtok is None else self.cached_usd_per_mtok
        usd = (prompt - cached) * price + cached * cached_price + completion * (self.completion_usd_per_mtok or 0.0)
        return usd / 1e6 * (self.batch.price if self.batch else 1.0)

    def worst_cost(self, messages: str, *, max_tokens: int) -> float:
        """The most USD that one request can cost: a token is at least a byte of text."""
        prompt = len(messages.encode()) + _TOKENS_A_MESSAGE
        return self.cost(prompt=prompt, cached=0, completion=max_tokens)
