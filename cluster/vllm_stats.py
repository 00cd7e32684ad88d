"""What vLLM says of itself: read at every step of the engine, passed on to Ray's metrics once a second."""

from dataclasses import dataclass, fields
from typing import Any

from ray.util.metrics import Counter, Gauge


@dataclass
class Figures:
    """An engine's own figures; the first four are of this moment, the rest count since the actor's start.

    `cache_used` is the share of the key-value cache in use, `cached` the prompt tokens that a shared prefix saved,
    `preempted` the draws that were thrown out of the cache and computed again, `deaths` the engines that were lost.
    """

    running: int = 0
    waiting: int = 0
    cache_used: float = 0.0
    limit: int = 0
    steps: int = 0
    prompt: int = 0
    cached: int = 0
    generated: int = 0
    preempted: int = 0
    deaths: int = 0


_NOW = {
    "running": ("longthought_engine_draws_running", "Draws that the engine computes"),
    "waiting": ("longthought_engine_draws_waiting", "Draws that wait inside the engine"),
    "cache_used": ("longthought_engine_kv_cache_used", "Share of the key-value cache in use, 0 to 1"),
    "limit": ("longthought_engine_draws_limit", "Draws that the engine may have at once"),
}
_SINCE = {
    "steps": ("longthought_engine_steps", "Steps of the engine"),
    "prompt": ("longthought_engine_prompt_tokens", "Prompt tokens, cached ones included"),
    "cached": ("longthought_engine_prompt_tokens_cached", "Prompt tokens found in the prefix cache"),
    "generated": ("longthought_engine_generated_tokens", "Tokens drawn"),
    "preempted": ("longthought_engine_preemptions", "Draws thrown out of the cache and computed again"),
    "deaths": ("longthought_engine_deaths", "Engines that died or hung and were replaced"),
}


class Export:
    """Figures as Ray metrics (`ray_longthought_engine_...` in Prometheus), tagged with the model.

    vLLM's own way, RayPrometheusStatLogger, needs Ray Serve and its packages, and costs a call for every token.
    """

    def __init__(self, model: str) -> None:
        self._tags = {"model": model}
        self._gauges = {name: Gauge(said, description=text, tag_keys=("model",)) for name, (said, text) in _NOW.items()}
        self._counters = {
            name: Counter(said, description=text, tag_keys=("model",)) for name, (said, text) in _SINCE.items()
        }
        self._told = Figures()

    def tell(self, figures: Figures) -> None:
        """Pass the figures on."""
        for name, gauge in self._gauges.items():
            gauge.set(getattr(figures, name), tags=self._tags)
        for name, counter in self._counters.items():
            # A counter refuses to be raised by nothing.
            if more := getattr(figures, name) - getattr(self._told, name):
                counter.inc(more, tags=self._tags)
        self._told = Figures(**{field.name: getattr(figures, field.name) for field in fields(Figures)})


def recorder(figures: Figures) -> Any:
    """A stat logger for vLLM (1 engine) that keeps `figures` up to date."""
    from vllm.v1.metrics.loggers import PrometheusStatLogger

    class Recorder(PrometheusStatLogger):
        # vLLM adds its own Prometheus logger, which works for every token, unless one of that class is given.
        def __init__(self, vllm_config: Any, engine_indexes: list[int]) -> None:
            pass

        def record(self, scheduler_stats: Any, iteration_stats: Any, **_: Any) -> None:
            note(figures, scheduler_stats, iteration_stats)

        def record_sleep_state(self, *_: Any) -> None:
            pass

        def record_admission_rejection(self, reason: str) -> None:
            pass

        def log_engine_initialized(self) -> None:
            pass

    return Recorder


def note(figures: Figures, scheduler_stats: Any, iteration_stats: Any) -> None:
    """Add one step's SchedulerStats and IterationStats (either may be None)."""
    figures.steps += 1
    if scheduler_stats is not None:
        figures.running = scheduler_stats.num_running_reqs
        figures.waiting = scheduler_stats.num_waiting_reqs + scheduler_stats.num_skipped_waiting_reqs
        figures.cache_used = scheduler_stats.kv_cache_usage
    if iteration_stats is not None:
        figures.prompt += iteration_stats.prompt_token_stats.total
        figures.cached += iteration_stats.prompt_token_stats.cached_tokens
        figures.generated += iteration_stats.num_generation_tokens
        figures.preempted += iteration_stats.num_preempted_reqs
