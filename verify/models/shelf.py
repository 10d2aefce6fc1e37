"""The shelf of bundles: scratch folders, putting in place at once, listing, removing.

Everything is made in a hidden folder beside the bundles; the last step is one rename. What is
interrupted, or runs twice at once, leaves either no bundle or a whole one.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from verify.atomic import exchange, sync_folder
from verify.errors import ModelError, ModelNotInstalledError, StorageError
from verify.models.bundle import read_zipped_card
from verify.models.card import CARD_FILE, NAME_PATTERN, Card, read_card
from verify.models.local_files import is_bundle
from verify.models.places import canonical_name, default_models_dir
from verify.models.registry import find_entry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCRATCH_PREFIX = ".pull-"
_STALE_S = 24 * 3600.0


@contextmanager
def scratch_folder(base: Path) -> Iterator[Path]:
    """A hidden folder on the bundles' own file system, gone afterwards; old ones of killed pulls go too."""
    folder = base / f"{SCRATCH_PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
    try:
        base.mkdir(parents=True, exist_ok=True)
        folder.mkdir()
    except OSError as error:
        msg = f"{base} cannot be written ({error.strerror or error}); set VERIFY_MODELS to a folder that can"
        raise StorageError(msg) from error
    try:
        for old in base.glob(f"{SCRATCH_PREFIX}*"):
            with suppress(OSError):
                if old != folder and time.time() - old.stat().st_mtime > _STALE_S:
                    shutil.rmtree(old, ignore_errors=True)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def new_folder(path: Path) -> Path:
    """An empty folder at `path`; what was there is gone.

    Raises:
        StorageError: it cannot be made.
    """
    try:
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
    except OSError as error:
        msg = f"{path} cannot be made: {error.strerror or error}"
        raise StorageError(msg) from error
    return path


def write_plain(path: Path, data: bytes) -> None:
    """Write a file inside a scratch folder, where nobody looks before the rename.

    Raises:
        StorageError: the disk is full or read-only.
    """
    try:
        path.write_bytes(data)
    except OSError as error:
        msg = f"{path} cannot be written: {error.strerror or error}"
        raise StorageError(msg) from error


def _sync_files(folder: Path) -> None:
    for path in folder.iterdir():
        with path.open("rb") as stream, suppress(OSError):
            os.fsync(stream.fileno())
    sync_folder(folder)


def put_in_place(built: Path, target: Path) -> str:
    """Put a finished folder in its place; what was there goes to the scratch folder in exchange.

    Where the system cannot exchange folders in one step, there is a moment between two renames in
    which a reader finds neither.

    Returns:
        ``installed`` or ``replaced``; ``present`` if another pull was faster.

    Raises:
        StorageError: the folder cannot be written.
    """
    _sync_files(built)
    aside = built.with_name(f"{built.name}-before-{secrets.token_hex(4)}")
    try:
        if target.exists() and exchange(built, target):
            sync_folder(target.parent)
            return "replaced"
        with suppress(FileNotFoundError):  # nothing there, or another pull has just set it aside
            target.rename(aside)
        try:
            built.rename(target)
        except OSError:
            if (target / CARD_FILE).is_file():
                return "present"  # another pull was faster; its bundle is as good
            raise
        finally:
            if aside.exists() and not target.exists():
                aside.rename(target)  # nothing half: the old bundle comes back
        sync_folder(target.parent)
    except OSError as error:
        msg = f"{target} cannot be put in place: {error.strerror or error}"
        raise StorageError(msg) from error
    return "replaced" if aside.exists() else "installed"


def remove(name: str, *, models_dir: Path | None = None) -> tuple[Path, tuple[str, ...]]:
    """Delete an installed bundle, whatever uses it.

    Returns:
        The folder or zip that is gone, and the names of installed models that use it as their locator.

    Raises:
        UnknownModelError: no such model, installed or known.
        ModelNotInstalledError: it is not there.
        StorageError: it cannot be deleted.
    """
    base = default_models_dir() if models_dir is None else models_dir
    name = canonical_name(name)
    places = (base / name / CARD_FILE, base / f"{name}.zip") if NAME_PATTERN.fullmatch(name) else ()
    found = next((path for path in places if path.is_file()), None)
    if found is None:
        msg = f"{find_entry(name).name} is not installed in {base}; nothing was removed"
        raise ModelNotInstalledError(msg)
    found = found.parent if found.name == CARD_FILE else found
    users = tuple(
        item.name
        for item in installed(models_dir=base).values()
        if isinstance(item, Card) and item.locator_name == name
    )
    try:
        if found.is_dir() and not found.is_symlink():
            aside = found.with_name(f"{SCRATCH_PREFIX}removed-{secrets.token_hex(4)}")
            found.rename(aside)
            shutil.rmtree(aside)
        else:
            found.unlink()
    except OSError as error:
        msg = f"{found} cannot be removed: {error.strerror or error}"
        raise StorageError(msg) from error
    return found, users


def installed(*, models_dir: Path | None = None) -> dict[str, Card | ModelError]:
    """Cards of the bundles that are there, folders and zips, by name; the error for damaged ones."""
    base = default_models_dir() if models_dir is None else models_dir
    found: dict[str, Card | ModelError] = {}
    for path in [*sorted(base.glob("*.zip")), *sorted(base.glob(f"*/{CARD_FILE}"))] if base.is_dir() else []:
        name = path.stem if path.suffix == ".zip" else path.parent.name
        if name.startswith(".") or (path.suffix == ".zip" and not is_bundle(path)):
            continue
        try:
            found[name] = read_zipped_card(path) if path.suffix == ".zip" else read_card(path)
        except ModelError as error:
            found[name] = error
    return found
