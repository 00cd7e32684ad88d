"""A stand-in teacher in a process of its own that can be killed and come back on the same port."""

import json
import socket
import subprocess
import sys
import urllib.request
from collections import Counter
from typing import Any

from tiny import ROOT

from pipeline.standin.settings import StandinSettings


class Teacher:
    """The stand-in teacher on a port of its own; what it billed is summed over its lives."""

    def __init__(self, settings: StandinSettings) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.base_url = f"http://127.0.0.1:{self.port}/v1"
        self._settings = self._serving = settings
        self._past: Counter[str] = Counter()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Serve until killed."""
        command = [sys.executable, "-m", "pipeline.standin.server", "127.0.0.1", str(self.port)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(self._serving.model_dump_json().encode() + b"\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline(), "the stand-in did not start"

    def restart(self, **changes: float) -> None:
        """Serve anew, with nothing billed yet, and until the next time with these settings changed."""
        if self.serves:
            self.kill()
        self._past.clear()
        self._serving = self._settings.model_copy(update=changes)
        self.start()

    def kill(self) -> int:
        """End it as a crash does; returns how many requests were open."""
        assert self._process is not None
        stats = self._stats()
        self._process.kill()
        self._process.communicate()
        self._process = None
        self._past.update(stats["billed"])
        return int(stats["in_flight"])

    @property
    def serves(self) -> bool:
        """Whether it is there."""
        return self._process is not None

    @property
    def billed(self) -> Counter[str]:
        """Requests, prompt_tokens and completion_tokens billed in all its lives, but for a moment before each kill."""
        return self._past + Counter(self._stats()["billed"]) if self.serves else self._past

    def _stats(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/stats", timeout=30) as answer:
            stats: dict[str, Any] = json.load(answer)
        return stats
