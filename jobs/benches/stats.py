"""What the stand-in counted."""

import json
import time
import urllib.request
from typing import Any


def stats(base_url: str) -> dict[str, Any]:
    """The stand-in's figures since it started or was reset."""
    with urllib.request.urlopen(f"{_root(base_url)}/stats") as response:
        told: dict[str, Any] = json.load(response)
        return told


def reset_stats(base_url: str) -> float:
    """Make the stand-in count anew; returns when that was, on time.monotonic."""
    at = time.monotonic()
    urllib.request.urlopen(urllib.request.Request(f"{_root(base_url)}/stats/reset", method="POST")).close()
    return at


def _root(base_url: str) -> str:
    return base_url.removesuffix("/v1")
