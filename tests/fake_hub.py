"""A fake Hugging Face Hub on a real socket: as much of its API as a push of a repository needs."""

import base64
import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_made"


@dataclass
class FakeHub:
    """Serves while in `with`. `files` is what the repository holds: path -> content; None where there is none.

    `may_write` is whether the token has the right to; `seen` are the method and path of every request; `kind` is the
    type of the repository; after `breaks_after` large files the next is answered with an error.
    """

    files: dict[str, bytes] | None = None
    private: bool = True
    may_write: bool = True
    kind: str = "dataset"
    breaks_after: int | None = None
    seen: list[str] = field(default_factory=list)
    lfs: dict[str, bytes] = field(default_factory=dict)
    url: str = ""

    def __enter__(self) -> "FakeHub":
        hub = self

        class Handler(_Handler):
            held = hub

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, path: str, body: bytes, token: str) -> tuple[int, Any, dict[str, str]]:
        """Status, JSON and headers for a request."""
        self.seen.append(f"{method} {path}")
        if method == "PUT":
            assert hashlib.sha256(body).hexdigest() == path.rpartition("/")[2]
            if self.breaks_after is not None and len(self.lfs) >= self.breaks_after:
                return 400, {"error": "broken off"}, {}
            self.lfs[path.rpartition("/")[2]] = body
            return 200, {}, {}
        if token != f"Bearer {TOKEN}":
            return 401, {"error": "Invalid credentials"}, {}
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}, {}
        assert f"/{self.kind}s/" in path or path.endswith("/objects/batch"), path
        if self.files is None:
            return 404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"}
        if method == "GET":
            return 200, self._tree() if "/tree/" in path else self._info(), {}
        if not self.may_write:
            return 403, {"error": "Forbidden: pass a token with write access"}, {}
        if path.endswith("/objects/batch"):
            return 200, self._batch(json.loads(body)), {}
        if "/preupload/" in path:
            return 200, {"files": [self._mode(each) for each in json.loads(body)["files"]]}, {}
        assert "/commit/" in path, path
        self._commit([json.loads(line) for line in body.splitlines()])
        return 200, {"commitUrl": f"{self.url}/datasets/me/made/commit/1", "commitOid": "1" * 40, "success": True}, {}

    def _create(self, asked: dict[str, Any]) -> tuple[int, Any, dict[str, str]]:
        if not self.may_write:
            return 403, {"error": "You don't have the rights to create a dataset under this namespace"}, {}
        assert asked.get("type", "model") == self.kind
        self.files, self.private = {}, asked.get("visibility") == "private"
        return 200, {"url": f"{self.url}/datasets/{asked['organization']}/{asked['name']}"}, {}

    def _info(self) -> dict[str, Any]:
        return {"id": "me/made", "private": self.private, "sha": "0" * 40, "siblings": [], "tags": [], "downloads": 0}

    def _tree(self) -> list[dict[str, Any]]:
        assert self.files is not None
        return [{"type": "file", "path": path, "size": len(each), "oid": "0"} for path, each in self.files.items()]

    @staticmethod
    def _mode(asked: dict[str, Any]) -> dict[str, Any]:
        mode = "lfs" if asked["path"].endswith((".parquet", ".png", ".safetensors")) else "regular"
        return {"path": asked["path"], "uploadMode": mode, "shouldIgnore": False, "oid": None}

    def _batch(self, asked: dict[str, Any]) -> dict[str, Any]:
        def actions(each: dict[str, Any]) -> dict[str, Any]:
            if each["oid"] in self.lfs:
                # It has it: there is nothing to do.
                return each
            return {**each, "actions": {"upload": {"href": f"{self.url}/lfs/{each['oid']}", "header": {}}}}

        return {"transfer": "basic", "objects": [actions(each) for each in asked["objects"]]}

    def _commit(self, lines: list[dict[str, Any]]) -> None:
        assert self.files is not None
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                self.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                self.files[value["path"]] = self.lfs[value["oid"]]
            elif line["key"] == "deletedFile":
                del self.files[value["path"]]


class _Handler(BaseHTTPRequestHandler):
    held: FakeHub

    def _do(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0]
        status, value, headers = self.held.answer(self.command, path, body, self.headers.get("Authorization") or "")
        content = json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"Content-Type": "application/json", "Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_HEAD = _do

    def log_message(self, *_: object) -> None:
        pass
