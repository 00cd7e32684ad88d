"""What is believed of teachers' terms, and where to read them. No promise: a place to look."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Terms:
    """A provider's or a model's terms, as they were understood when this was written; they change."""

    provider: str
    said: Literal["restricts", "permits", "depends"]
    what: str
    link: str


_KNOWN: tuple[tuple[tuple[str, ...], Terms], ...] = (
    (
        ("openai.com", "openai.azure.com"),
        Terms(
            "OpenAI",
            "restricts",
            "its terms restrict the use of output to develop models that compete with OpenAI",
            "https://openai.com/policies/row-terms-of-use/",
        ),
    ),
    (
        ("anthropic.com",),
        Terms(
            "Anthropic",
            "restricts",
            "its commercial terms restrict the use of the service to train competing AI models",
            "https://www.anthropic.com/legal/commercial-terms",
        ),
    ),
    (
        ("googleapis.com", "google.com"),
        Terms(
            "Google",
            "restricts",
            "its Gemini API terms restrict the use of the service to develop models that compete with it",
            "https://ai.google.dev/gemini-api/terms",
        ),
    ),
    (
        ("deepseek.com",),
        Terms(
            "DeepSeek",
            "permits",
            "its open platform's terms are understood to allow training other models on output, distillation too",
            "https://cdn.deepseek.com/policies/en-US/deepseek-open-platform-terms-of-service.html",
        ),
    ),
)
_WEIGHTS: tuple[tuple[str, Terms], ...] = (
    (
        "deepseek",
        Terms(
            "DeepSeek's weights",
            "permits",
            "DeepSeek-R1 is under the MIT licence, and its README allows distillation; earlier models have a licence "
            "of their own, and those distilled from Llama or Qwen carry theirs too",
            "https://huggingface.co/deepseek-ai/DeepSeek-R1",
        ),
    ),
    (
        "qwq",
        Terms("QwQ's weights", "permits", "published under Apache-2.0", "https://huggingface.co/Qwen/QwQ-32B"),
    ),
    (
        "qwen",
        Terms(
            "Qwen's weights",
            "permits",
            "most sizes are under Apache-2.0, some under Qwen's own licence, which asks that models trained on its "
            "output say so",
            "https://huggingface.co/Qwen",
        ),
    ),
    (
        "llama",
        Terms(
            "Llama's weights",
            "depends",
            "since Llama 3.1 its community licence allows it, and asks that the name of a model trained on its "
            "output begins with Llama",
            "https://www.llama.com/llama3_1/license/",
        ),
    ),
    (
        "gemma",
        Terms(
            "Gemma's weights",
            "depends",
            "its terms bind models that are trained on its output",
            "https://ai.google.dev/gemma/terms",
        ),
    ),
    (
        "gpt-oss",
        Terms(
            "gpt-oss' weights", "permits", "published under Apache-2.0", "https://huggingface.co/openai/gpt-oss-120b"
        ),
    ),
)


def terms_of(engine: str) -> list[Terms]:
    """What is known of an engine (`model @ who serves it`): of the service it was asked at, and of the model's weights.

    A service is known by its host; a model by its name. Nothing is known of most.
    """
    model, _, server = engine.rpartition(" @ ")
    host = server.split(" ")[0].split(":")[0].lower()
    found = [terms for hosts, terms in _KNOWN if any(host == name or host.endswith(f".{name}") for name in hosts)]
    if not found:
        found = [terms for name, terms in _WEIGHTS if name in (model or engine).lower()][:1]
    return found
