from pathlib import Path
from tiny import ROOT, recipe, recorded, tiny_model
WATCH = ROOT / "cluster" / "deploy" / "watch"


def made(folder: Path) -> Path:
    tiny_model(folder / "model")
    problems = recorded(folder / "problems.jsonl", problems=120)
    held_out = recorded(folder / "held_out.jsonl", problems=24)
    sampling = {"temperature": 1.0, "max_tokens": 64}
    return recipe(
        folder, problems, shards=8, budget_usd=1.0,
        teacher={"model": "recorded", "standin": {"answers": "replay", "path": str(problems), "replies": ["replies.a", "replies.b"], "latency_s": 0.3, "share_429": 0.1, "share_500": 0.1},
            "prompt_usd_per_mtok": 1.0, "completion_usd_per_mtok": 1.0, "in_flight": 8},
        distill={"generations": [
            {"name": "long", "engine": "teacher", "draws": 2, "sampling": {"max_tokens": 64}},
            {"name": "self", "engine": "student", "draws": 1, "sampling": sampling}]},
        evaluate={"benchmarks": {"sums": {"name": "held-out", "format": "jsonl", "path": str(held_out), "fields": {"prompt": "question"}}}, "draws": 2, "sampling": sampling},
    )
