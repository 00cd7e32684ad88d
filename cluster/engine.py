"""vLLM as an engine: AsyncLLM inside a Ray actor, on CPUs and GPUs alike."""

import asyncio
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import orjson
from pydantic import Field

from cluster.models import local_path
from cluster.session import cores
from pipeline.errors import Stop
from pipeline.generate import Answer, Unfinished
from pipeline.ledger import Call
from pipeline.prompts import split
from pipeline.settings import Settings

_CPU_BATCH_TOKENS = 4096


class EngineSettings(Settings):
    """How vLLM runs a model."""

    operational: ClassVar[frozenset[str]] = frozenset(
        {"device", "tensor_parallel", "actors", "in_flight", "gpu_memory", "kv_cache_gib", "compile", "cpus"}
    )

    device: Literal["cpu", "gpu"] = "gpu"
    """What it runs on; cpu needs vLLM's CPU build (the `cpu` extra)."""
    dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    """The weights' and activations' type."""
    max_model_len: int = Field(default=32768, gt=0)
    """The most tokens of prompt and reply together."""
    tensor_parallel: int = Field(default=1, gt=0)
    """GPUs that share one engine."""
    actors: int = Field(default=1, gt=0)
    """The most engines; each has its own GPUs."""
    in_flight: int = Field(default=256, gt=0)
    """Draws that one engine runs at once (vLLM's max_num_seqs)."""
    gpu_memory: float = Field(default=0.9, gt=0, le=1)
    """The share of a GPU's memory that vLLM takes."""
    kv_cache_gib: int = Field(default=2, gt=0)
    """cpu: GiB for the key-value cache."""
    compile: bool = True
    """Whether vLLM compiles the model; off starts a minute sooner and runs slower."""
    cpus: float = Field(default=1.0, gt=0)
    """Logical CPUs that one engine takes in Ray."""


class Engine:
    """Answers calls with a model; open it once in the process that runs it."""

    def __init__(self, settings: EngineSettings, *, model: str, identity: str) -> None:
        self.settings = settings
        self.model = model
        self.identity = identity
        self.seeded = True
        self.caller = ""
        self._llm: Any = None
        self._tokenizer: Any = None
        self._opening = asyncio.Lock()

    async def answer(self, call: Call) -> Answer:
        """One draw. A prompt that leaves no room is refused; a dead engine leaves the call unfinished."""
        from vllm.exceptions import VLLMValidationError
        from vllm.v1.engine.exceptions import EngineDeadError

        llm = await self._open()
        sampling = orjson.loads(call.sampling)
        prompt = self._tokenizer.apply_chat_template(
            orjson.loads(call.messages), tokenize=False, add_generation_prompt=True
        )
        ids = self._tokenizer.encode(prompt, add_special_tokens=False)
        room = self.settings.max_model_len - len(ids)
        if room < 1:
            return Answer("refused", why=f"prompt of {len(ids)} tokens, max_model_len={self.settings.max_model_len}")
        try:
            output = await self._draw(llm, call, ids, sampling, max_tokens=min(room, sampling["max_tokens"]))
        except VLLMValidationError as error:
            return Answer("refused", why=str(error)[:200])
        except EngineDeadError as error:
            await self._bury(llm)
            raise Unfinished(f"the vLLM engine died: {error}") from error
        if output.finish_reason not in ("stop", "length"):
            raise Unfinished(f"vLLM broke a request off: {output.finish_reason}")
        return self._answer(output, prompt=prompt, prompt_tokens=len(ids))

    async def bought(self, keys: Sequence[str]) -> None:
        """Nothing is owed for them."""

    async def _open(self) -> Any:
        async with self._opening:
            if self._llm is None:
                try:
                    self._llm = await asyncio.to_thread(_start, self.settings, local_path(self.model))
                except (OSError, ValueError, RuntimeError) as error:
                    raise Stop(f"vLLM can't open {self.model}: {_last_line(error)}") from error
                self._tokenizer = self._llm.get_tokenizer()
            return self._llm

    async def _bury(self, llm: Any) -> None:
        """Give a dead engine up, so that the next call opens another."""
        async with self._opening:
            if self._llm is llm:
                self._llm = None
                await asyncio.to_thread(llm.shutdown)

    async def _draw(self, llm: Any, call: Call, ids: list[int], sampling: dict[str, Any], *, max_tokens: int) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        params = SamplingParams(
            temperature=sampling["temperature"],
            top_p=sampling["top_p"],
            max_tokens=max_tokens,
            seed=call.seed,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        last = None
        # A key may be asked for twice at once (two generations with the same call): the id must not collide.
        request = f"{call.key}-{id(params):x}"
        async for output in llm.generate({"prompt_token_ids": ids}, params, request):
            last = output
        if last is None:
            raise Unfinished("vLLM ended a request without an output")
        return last.outputs[0]

    def _answer(self, output: Any, *, prompt: str, prompt_tokens: int) -> Answer:
        truncated = output.finish_reason == "length"
        # Templates that open the thought themselves leave its tag in the prompt.
        opened = "<think>\n" if prompt.rstrip().endswith("<think>") else ""
        taken = split(opened + output.text, truncated=truncated)
        thinking = len(self._tokenizer.encode(taken.thought, add_special_tokens=False)) if taken.thought else 0
        total = len(output.token_ids)
        return Answer(
            outcome="answered",
            thought=taken.thought,
            reply=taken.reply,
            finish_reason=str(output.finish_reason),
            prompt_tokens=prompt_tokens,
            thought_tokens=min(thinking, total),
            reply_tokens=total - min(thinking, total),
        )


def actor_options(settings: EngineSettings) -> dict[str, Any]:
    """The Ray resources and environment of an actor that runs one engine."""
    if settings.device == "gpu":
        return {"num_cpus": settings.cpus, "num_gpus": settings.tensor_parallel}
    env = {
        "VLLM_CPU_KVCACHE_SPACE": str(settings.kv_cache_gib),
        # Ray and other actors share the cores: vLLM must not pin itself to some of them.
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        # Ray sets this to the actor's logical CPUs, which are fractions here.
        "OMP_NUM_THREADS": str(cores()),
        "VLLM_LOGGING_LEVEL": "WARNING",
    }
    return {"num_cpus": settings.cpus, "runtime_env": {"env_vars": env}}


def _start(settings: EngineSettings, model: str) -> Any:
    from vllm import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    if settings.device == "gpu":
        device: dict[str, Any] = {"gpu_memory_utilization": settings.gpu_memory}
    else:
        # A seeded draw whose prefill is cut in chunks kills the CPU engine ("CPU Generator does not use offset").
        batch = max(settings.max_model_len, _CPU_BATCH_TOKENS)
        device = {"enable_chunked_prefill": False, "max_num_batched_tokens": batch}
    args = AsyncEngineArgs(
        model=model,
        dtype=settings.dtype,
        max_model_len=settings.max_model_len,
        max_num_seqs=settings.in_flight,
        tensor_parallel_size=settings.tensor_parallel,
        enforce_eager=not settings.compile,
        enable_prefix_caching=True,
        disable_log_stats=True,
        enable_log_requests=False,
        **device,
    )
    return AsyncLLM.from_engine_args(args)


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
