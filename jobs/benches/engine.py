"""Tokens/s of uneven draws through buy, Engine and Ledger against vLLM's LLM.generate with all prompts at once."""

import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from cluster.engine import Engine, EngineSettings, actor_options, engine_args
from cluster.models import local_path
from jobs.benches.result import Result
from pipeline.generate import buy
from pipeline.ledger import Call, Ledger, canonical
from pipeline.store import Store
from pipeline.truncated import Truncated

_PROMPTS = 256
_MODEL = "SmolLM2-135M-Instruct"
# A token that the model never draws: no draw may end before its length.
_END, _END_ID = "<filename>", 6
_SETTINGS = EngineSettings(device="cpu", max_model_len=1024, in_flight=64, kv_cache_gib=1, compile=False)


def engine() -> Result:
    """Tokens/s for 256 draws of 10 to 400 tokens each, lognormal; both sides with the same engine arguments."""
    with tempfile.TemporaryDirectory() as folder:
        model = _endless(Path(folder) / "model")
        ours, peer = (_apart(side, model) for side in ("ours", "peer"))
    return Result("engine", ours, peer, "LLM.generate, all at once", "tokens/s", ours / peer, goal=0.97)


def _apart(side: str, model: Path) -> float:
    """One side in a process of its own, with the environment that an engine's actor has."""
    env = actor_options(_SETTINGS)["runtime_env"]["env_vars"]
    # A file, for vLLM writes to standard output too.
    figure = model.parent / f"{side}.json"
    command = [sys.executable, "-m", "jobs.benches.engine", side, str(model), str(figure)]
    ran = subprocess.run(
        ["env", *(f"{name}={value}" for name, value in env.items()), *command],
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode:
        raise RuntimeError(f"the {side} side of the engine's benchmark failed:\n{ran.stderr[-3000:]}")
    return float(json.loads(figure.read_text()))


def _endless(folder: Path) -> Path:
    """The model with another end-of-text token; its other files are links."""
    folder.mkdir()
    for file in Path(local_path(_MODEL)).iterdir():
        if file.name in ("config.json", "generation_config.json", "tokenizer_config.json"):
            values = json.loads(file.read_text())
            changed = {"eos_token_id": _END_ID, "eos_token": _END}
            (folder / file.name).write_text(json.dumps(values | {k: v for k, v in changed.items() if k in values}))
        else:
            (folder / file.name).symlink_to(file)
    return folder


def _calls() -> list[Call]:
    rng = random.Random(1)
    calls = []
    for n in range(_PROMPTS):
        length = min(400, max(10, round(rng.lognormvariate(3.4, 0.9))))
        sampling = canonical({"temperature": 1.0, "top_p": 1.0, "max_tokens": length})
        messages = canonical([{"role": "user", "content": f"Count on from {rng.randrange(1000)}, and say why."}])
        calls.append(Call(f"{n:032x}", "p", "bench", "bench", 0, n, messages, sampling))
    return calls


async def _ours(model: str) -> float:
    answering = Engine(_SETTINGS, model=model, identity="bench")
    calls = _calls()
    await answering.answer(calls[0])
    tokens = 0

    def told(entry: Any) -> None:
        nonlocal tokens
        tokens += entry.thought_tokens + entry.reply_tokens

    with tempfile.TemporaryDirectory() as folder:
        ledger, slots = Ledger(Store(folder), "bench"), asyncio.Semaphore(_SETTINGS.slots)
        started = time.perf_counter()
        left = await buy(
            calls,
            engine=answering,
            ledger=ledger,
            known={},
            truncated=Truncated(),
            slots=slots,
            invocation="bench",
            told=told,
        )
        took = time.perf_counter() - started
    await answering.close()
    assert not left, left
    _check(tokens)
    return tokens / took


def _peer(model: str) -> float:
    from vllm import LLM, SamplingParams

    llm = LLM(**engine_args(_SETTINGS, model))
    template = llm.get_tokenizer().apply_chat_template
    prompts, params = [], []
    for call in _calls():
        text = template(json.loads(call.messages), tokenize=False, add_generation_prompt=True)
        prompts.append({"prompt_token_ids": llm.get_tokenizer().encode(text, add_special_tokens=False)})
        params.append(SamplingParams(**json.loads(call.sampling), seed=call.seed))
    llm.generate(prompts[0], params[0], use_tqdm=False)
    started = time.perf_counter()
    drawn = llm.generate(prompts, params, use_tqdm=False)
    took = time.perf_counter() - started
    tokens = sum(len(output.outputs[0].token_ids) for output in drawn)
    _check(tokens)
    return tokens / took


def _check(tokens: int) -> None:
    """Both sides must draw all that was asked for, or their tokens/s compare different work."""
    asked = sum(json.loads(call.sampling)["max_tokens"] for call in _calls())
    assert tokens == asked, f"{tokens} tokens drawn of {asked}"


if __name__ == "__main__":
    name, path, figure = sys.argv[1:]
    Path(figure).write_text(json.dumps(asyncio.run(_ours(path)) if name == "ours" else _peer(path)))
