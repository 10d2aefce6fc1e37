"""Fetch one file by URL: https only, bounded in time and size, nothing trusted before its hash."""

from __future__ import annotations

import http.client
import socket
import threading
import urllib.error
import urllib.parse
import urllib.request
from typing import IO, TYPE_CHECKING, Any, TypeAlias

from verify.errors import DownloadError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Progress: TypeAlias = Callable[[str, int, int], None]

TIMEOUT_S = 5.0  # to connect, and between two arriving pieces
MAX_BYTES = 1 << 30
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}
_CHUNK_BYTES = 1 << 18


def silent(label: str, done: int, total: int) -> None:
    """A progress listener that shows nothing: what is fetched, bytes so far, bytes in all or 0."""


def check_url(url: str) -> str:
    """The URL's host, if it may be fetched: https, or anything on this machine.

    Raises:
        DownloadError: any other scheme.
    """
    parts = urllib.parse.urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK):
        return host
    msg = f"{url}: only https is fetched"
    raise DownloadError(msg)


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to https only."""

    def redirect_request(  # noqa: PLR0917  the library calls it so
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        check_url(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def download(
    url: str, target: Path, *, size: int = 0, timeout_s: float = TIMEOUT_S, progress: Progress = silent
) -> None:
    """Write what `url` serves to `target`.

    Args:
        url: https; http only on this machine.
        target: a new file.
        size: expected size in bytes; what is longer is cut off with an error. 0 if unknown.
        timeout_s: to connect, and between two arriving pieces.
        progress: called with (label, bytes so far, bytes in all or 0).

    Raises:
        DownloadError: no answer, an HTTP error, too long, or ended early.
        StorageError: `target` cannot be written.
    """
    _check_host(check_url(url), timeout_s=timeout_s)
    opener = urllib.request.build_opener(_SafeRedirects)
    try:
        with opener.open(url, timeout=timeout_s) as answer:
            total = size or int(answer.headers.get("Content-Length") or 0)
            done = _copy(answer, target, limit=size or MAX_BYTES, total=total, label=url, progress=progress)
    except urllib.error.HTTPError as error:
        msg = f"HTTP {error.code} {error.reason}"
        error.close()
        raise DownloadError(msg) from error
    except urllib.error.URLError as error:
        msg = f"no answer: {error.reason}"
        raise DownloadError(msg) from error
    except (http.client.HTTPException, ValueError) as error:
        msg = f"the answer is broken: {error!r}"
        raise DownloadError(msg) from error
    except OSError as error:  # the connection breaks off or falls silent
        msg = f"the connection failed: {error}"
        raise DownloadError(msg) from error
    if total and done != total:
        msg = f"{done} bytes arrived instead of {total}"
        raise DownloadError(msg)


def _check_host(host: str, *, timeout_s: float) -> None:
    """Refuse a host whose name is not resolved in time: the system's resolver may take half a minute."""
    if urllib.request.getproxies():
        return  # names are the proxy's business
    answers: list[str] = []

    def resolve() -> None:
        try:
            socket.getaddrinfo(host, None)
            answers.append("")
        except OSError as error:
            answers.append(f"no answer: {host}: {error.strerror or error}")

    thread = threading.Thread(target=resolve, daemon=True)
    thread.start()
    thread.join(timeout_s)
    failure = answers[0] if answers else f"no answer: the name {host} was not resolved within {timeout_s:g} s"
    if failure:
        raise DownloadError(failure)


def _copy(source: Any, target: Path, *, limit: int, total: int, label: str, progress: Progress) -> int:
    done = 0
    with _open_new(target) as stream:
        while chunk := source.read(_CHUNK_BYTES):
            done += len(chunk)
            if done > limit:
                msg = f"more than {limit} bytes arrive"
                raise DownloadError(msg)
            try:
                stream.write(chunk)
            except OSError as error:
                msg = f"{target} cannot be written: {error.strerror or error}"
                raise StorageError(msg) from error
            progress(label, done, total)
    return done


def _open_new(target: Path) -> IO[bytes]:
    try:
        return target.open("wb")
    except OSError as error:
        msg = f"{target} cannot be written: {error.strerror or error}"
        raise StorageError(msg) from error
