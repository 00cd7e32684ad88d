"""Start the stand-in teacher beside the driver, for as long as a job needs it."""

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import ray

from pipeline.errors import Stop
from pipeline.standin.settings import StandinSettings

_ROOT = Path(__file__).resolve().parent.parent


@contextlib.contextmanager
def standin(settings: StandinSettings, *, host: str | None = None, port: int = 0) -> Iterator[str]:
    """A running stand-in; gives its base_url. It ends with the block, and with this process however that ends."""
    command = [sys.executable, "-m", "pipeline.standin.server", host or _host(), str(port)]
    # File names in the settings are relative to where the job was started, not to the code.
    if settings.path is not None:
        settings = settings.model_copy(update={"path": str(Path(settings.path).expanduser().absolute())})
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said)
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(settings.model_dump_json().encode() + b"\n")
            process.stdin.flush()
            address = process.stdout.readline().decode().strip()
            if not address:
                process.wait(timeout=10)
                said.seek(0)
                raise Stop(_last_line(said.read()))
            yield address
        finally:
            process.stdin.close()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()


def _host() -> str:
    """Loopback when all of Ray is on this machine, else the address that other nodes reach it by."""
    if not ray.is_initialized() or len(ray.nodes()) == 1:
        return "127.0.0.1"
    return str(ray.util.get_node_ip_address())


def _last_line(said: bytes) -> str:
    lines = said.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "the stand-in teacher can't start"
