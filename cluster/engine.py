"""vLLM as an engine: AsyncLLM inside a Ray actor, on CPUs and GPUs alike."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Literal

import orjson
from pydantic import Field

from cluster.admission import Cap, Gate, Load
from cluster.models import local_path
from cluster.placement import bundles, in_group, on
from cluster.session import cores
from cluster.templates import BadPrompt, Chat, Prompt
from cluster.vllm_life import Died, Life, unusable
from cluster.vllm_stats import Export, Figures
from pipeline.errors import Stop
from pipeline.generate import Answer, Unfinished
from pipeline.ledger import Call
from pipeline.prompts import OPEN, Split, split
from pipeline.settings import Settings

_CPU_BATCH_TOKENS = 4096
_CPU_BLOCK_TOKENS = 32
_GIB = 1 << 30


class EngineSettings(Settings):
    """How vLLM runs a model."""

    operational: ClassVar[frozenset[str]] = frozenset(
        {
            "device",
            "tensor_parallel",
            "actors",
            "in_flight",
            "gpu_memory",
            "kv_cache_gib",
            "compile",
            "cpus",
            "restarts",
            "stall_s",
        }
    )

    device: Literal["cpu", "gpu"] = "gpu"
    """What it runs on; cpu needs vLLM's CPU build (the `cpu` extra)."""
    dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    """The weights' and activations' type."""
    max_model_len: int = Field(default=32768, gt=0)
    """The most tokens of prompt and reply together."""
    tensor_parallel: int = Field(default=1, gt=0)
    """GPUs that share one engine; with more than 1 they may lie on several nodes."""
    actors: int = Field(default=1, gt=0)
    """The most engines; each has its own GPUs."""
    in_flight: int = Field(default=256, gt=0)
    """The most draws that one engine runs at once (vLLM's max_num_seqs); fewer where its key-value cache is full."""
    gpu_memory: float = Field(default=0.9, gt=0, le=1)
    """The share of a GPU's memory that vLLM takes."""
    kv_cache_gib: float = Field(default=2, gt=0)
    """cpu: GiB for the key-value cache."""
    compile: bool = True
    """Whether vLLM compiles the model; off starts a minute sooner and runs slower."""
    cpus: float = Field(default=1.0, gt=0)
    """Logical CPUs that one engine takes in Ray."""
    restarts: int = Field(default=3, ge=0)
    """How often an engine that died or hung is replaced without one answer in between; then the run stops."""
    stall_s: float = Field(default=600, gt=0)
    """Seconds without a step of an engine that has draws to do, after which it counts as hung and is replaced."""

    @property
    def slots(self) -> int:
        """Calls to have open at once: more than run, as an answer on its way to storage needs no engine."""
        return self.in_flight + max(2, self.in_flight // 4)


class Engine:
    """Answers calls with a model; open it once in the process that runs it.

    An engine that dies or hangs is replaced, and its open calls are drawn again with their seeds.
    """

    def __init__(
        self,
        settings: EngineSettings,
        *,
        model: str,
        identity: str,
        told: Callable[[Mapping[str, float]], None] = lambda _: None,
    ) -> None:
        """`told` hears what the engine is at, about once a second."""
        self.settings = settings
        self.model = model
        self.identity = identity
        self.seeded = True
        self.caller = ""
        self.figures = Figures()
        self._chat: Chat | None = None
        self._life: Life | None = None
        self._opening = asyncio.Lock()
        # A few draws wait inside vLLM, so that the place of one that ends is taken in the very next step.
        few = max(1, settings.in_flight // 16)
        self._cap = Cap(least=few, most=settings.in_flight + few)
        self._gate = Gate(self._cap.limit)
        self._export = Export(identity)
        self._told = told
        self._proven = False
        self._deaths: list[str] = []

    async def answer(self, call: Call) -> Answer:
        """One draw. A prompt that is too long, empty, or not for this model's template is refused.

        Raises Stop when the model can't be opened, or its engine dies again and again without an answer.
        """
        from vllm.exceptions import VLLMValidationError

        await self._open()
        assert self._chat is not None, "opening an engine opens its tokenizer first"
        sampling = orjson.loads(call.sampling)
        try:
            prompt = await self._chat.prompt(call.messages)
        except BadPrompt as error:
            return Answer("refused", why=str(error))
        room = self.settings.max_model_len - len(prompt.ids)
        if room < 1:
            why = f"prompt of {len(prompt.ids)} tokens, max_model_len={self.settings.max_model_len}"
            return Answer("refused", why=why)
        try:
            output = await self._drawn(call, prompt.ids, sampling, max_tokens=min(room, sampling["max_tokens"]))
        except VLLMValidationError as error:
            return Answer("refused", why=str(error)[:200])
        return await self._answer(self._chat, output, prompt)

    async def bought(self, keys: Sequence[str]) -> None:
        """Nothing is owed for them."""

    async def close(self) -> None:
        """End the engine's processes; calls that are still open stay unfinished or open another."""
        async with self._opening:
            if self._life is not None:
                self._life.end("it was closed")
                await self._life.bury()
                self._life = None

    async def _drawn(self, call: Call, ids: list[int], sampling: dict[str, Any], *, max_tokens: int) -> Any:
        """vLLM's output of a call, from as many engines as it takes."""
        from vllm.v1.engine.exceptions import EngineGenerateError

        async with self._gate:
            while True:
                life = await self._open()
                params = _params(call, sampling, max_tokens=max_tokens)
                try:
                    # A key may be asked for twice at once (two generations with the same call): no id may collide.
                    output = await life.draw(ids, params, f"{call.key}-{id(params):x}")
                except Died:
                    await self._bury(life)
                    continue
                except EngineGenerateError as error:
                    raise Unfinished(f"vLLM failed at a request: {error.__cause__}") from error
                if output is None or output.outputs[0].finish_reason not in ("stop", "length"):
                    said = output and output.outputs[0].finish_reason
                    raise Unfinished(f"vLLM broke a request off: {said}")
                self._deaths, self._proven = [], True
                return output

    async def _open(self) -> Life:
        """The engine that runs, or a new one."""
        async with self._opening:
            while self._life is None:
                if len(self._deaths) > self.settings.restarts:
                    died = f"died {len(self._deaths)} times without one answer in between"
                    raise Stop(f"the vLLM engine of {self.model} {died}, at last because {self._deaths[-1]}")
                if self._chat is None:
                    path = await asyncio.to_thread(local_path, self.model)
                    self._chat = await asyncio.to_thread(Chat, self.model, path)
                try:
                    self._life = await self._start()
                except Died as death:
                    self._mourn(str(death))
                else:
                    self._life.watch(self._looked)
            return self._life

    async def _start(self) -> Life:
        args = engine_args(self.settings, await asyncio.to_thread(local_path, self.model))
        try:
            return await Life.start(args, self.figures, stall_s=self.settings.stall_s)
        except (OSError, ValueError, RuntimeError) as error:
            # The first time the model or its settings are at fault; once it has answered, its machine is.
            if self._proven and isinstance(error, RuntimeError):
                raise Died(f"it could not be started again: {error}") from error
            raise unusable(self.model, error) from error

    async def _bury(self, life: Life) -> None:
        """Give a dead engine up once, so that the next call opens another."""
        async with self._opening:
            if self._life is life:
                self._life = None
                await life.bury()
                self._mourn(life.ended)

    def _mourn(self, why: str) -> None:
        self._deaths.append(why)
        self.figures.deaths += 1

    def _looked(self) -> None:
        figures = self.figures
        load = Load(open=self._gate.open, preempted=figures.preempted, cache_used=figures.cache_used)
        self._gate.limit = figures.limit = self._cap.look(load)
        self._export.tell(figures)
        self._told(
            {
                "engine_draws": figures.running,
                "engine_waiting": figures.waiting,
                "kv_cache_used": figures.cache_used,
                "engine_deaths": figures.deaths,
            }
        )

    async def _answer(self, chat: Chat, output: Any, prompt: Prompt) -> Answer:
        drawn = output.outputs[0]
        if prompt.goes_on:
            # The rest of an answer: it is taken apart once it is joined to its start.
            taken = Split(thought="", reply=drawn.text)
        else:
            # Templates that open the thought themselves leave its tag in the prompt.
            opened = f"{OPEN}\n" if prompt.opens_thought else ""
            taken = split(opened + drawn.text, truncated=drawn.finish_reason == "length")
        total = len(drawn.token_ids)
        thinking = min(await chat.count(taken.thought), total)
        return Answer(
            outcome="answered",
            thought=taken.thought,
            reply=taken.reply,
            finish_reason=str(drawn.finish_reason),
            prompt_tokens=len(prompt.ids),
            cached_tokens=output.num_cached_tokens or 0,
            thought_tokens=thinking,
            reply_tokens=total - thinking,
        )


def actor_options(settings: EngineSettings) -> dict[str, Any]:
    """The Ray resources and environment of an actor that runs one engine, as map_batches takes them.

    Several GPUs come from a placement group (cluster.placement); vLLM's Ray executor puts a worker on each.
    """
    if settings.device == "gpu" and settings.tensor_parallel > 1:
        wanted = bundles(gpus=settings.tensor_parallel, cpus=settings.cpus)
        return {"num_cpus": settings.cpus, "num_gpus": 0, "ray_remote_args_fn": partial(in_group, wanted)}
    if settings.device == "gpu":
        return {"num_cpus": settings.cpus, "num_gpus": 1, **on("engines")}
    env = {
        # Ray and other actors share the cores: vLLM must not pin itself to some of them.
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        # Ray sets this to the actor's logical CPUs, which are fractions here.
        "OMP_NUM_THREADS": str(cores()),
        # The worker runs inside the engine's process: one process less to start, and no queue between the two.
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_LOGGING_LEVEL": "WARNING",
    }
    return {"num_cpus": settings.cpus, "runtime_env": {"env_vars": env}, **on("engines")}


def engine_args(settings: EngineSettings, model: str) -> dict[str, Any]:
    """What vLLM's AsyncEngineArgs (or LLM) is given for a model at a path."""
    return {
        "model": model,
        "dtype": settings.dtype,
        "max_model_len": settings.max_model_len,
        "max_num_seqs": settings.in_flight,
        "enforce_eager": not settings.compile,
        "enable_prefix_caching": True,
        "disable_log_stats": True,
        **(_gpu_args(settings) if settings.device == "gpu" else _cpu_args(settings)),
    }


def _gpu_args(settings: EngineSettings) -> dict[str, Any]:
    args: dict[str, Any] = {
        "gpu_memory_utilization": settings.gpu_memory,
        "tensor_parallel_size": settings.tensor_parallel,
    }
    if settings.tensor_parallel > 1:
        args["distributed_executor_backend"] = "ray"
    return args


def _cpu_args(settings: EngineSettings) -> dict[str, Any]:
    return {
        # A seeded draw whose prefill is cut in chunks kills the CPU engine ("CPU Generator does not use offset").
        "enable_chunked_prefill": False,
        "max_num_batched_tokens": max(settings.max_model_len, _CPU_BATCH_TOKENS),
        "kv_cache_memory_bytes": int(settings.kv_cache_gib * _GIB),
        # vLLM's own 128 on CPUs: the draws of a shorter prompt would share nothing. Its kernels want multiples of 32.
        "block_size": _CPU_BLOCK_TOKENS,
    }


def _params(call: Call, sampling: dict[str, Any], *, max_tokens: int) -> Any:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(
        temperature=sampling["temperature"],
        top_p=sampling["top_p"],
        max_tokens=max_tokens,
        seed=call.seed,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )
