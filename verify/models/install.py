"""Pull models: bring the weights, convert, test, and put the bundle in place at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from verify.errors import ModelError, ModelIntegrityError, UsageError
from verify.models.acquire import Fetcher, PullOptions, acquire, check_may_pull
from verify.models.assemble import build_bundle
from verify.models.bundle import open_bundle, unpack_bundle
from verify.models.card import CARD_FILE, Card, read_card
from verify.models.local_files import copy_file, is_bundle
from verify.models.operating_points import COHORT_FILE, OPERATING_POINTS_FILE
from verify.models.places import canonical_name, default_models_dir
from verify.models.registry import Entry, entries, find_entry
from verify.models.selftest import run_selftest
from verify.models.shelf import new_folder, put_in_place, scratch_folder

if TYPE_CHECKING:
    from pathlib import Path

    from verify.models.bundle import ModelBundle


@dataclass(frozen=True, slots=True)
class Installed:
    """One model that a pull has looked after.

    Attributes:
        status: ``installed``, ``present`` (was there and whole) or ``replaced``.
        selftest_cosine: smallest cosine of the self-test; None if it was not run.
    """

    name: str
    status: str
    path: Path
    model_id: str
    source: str = ""
    selftest_cosine: float | None = None


def pull(
    name: str, *, models_dir: Path | None = None, options: PullOptions | None = None
) -> tuple[Installed, ...]:
    """Bring a model and the locator it needs; whole bundles that are there are left alone.

    Args:
        name: name or alias.
        models_dir: where bundles lie; default VERIFY_MODELS, else the platform's data folder.
        options: sources and consents.

    Returns:
        What was looked after, locator first.

    Raises:
        UnknownModelError: no such model.
        DownloadError: no source gave the weights; the message says what to do.
        UsageError: a licence or unknown hash must be accepted first.
        ModelIntegrityError: what was built is not what the registry pins, or fails its self-test.
        StorageError: the folder cannot be written.
    """
    options = options or PullOptions()
    base = default_models_dir() if models_dir is None else models_dir
    bundles = [path for path in options.from_files if is_bundle(path)]
    if bundles:
        return _pull_bundles(canonical_name(name), bundles, base=base, options=options)
    entry = find_entry(name)
    chain = [*([find_entry(entry.locator)] if entry.locator else []), entry]
    present = [_present(item, base, force=options.force) for item in chain]
    if all(present):  # before anything is written: the folder may be read-only
        return tuple(item for item in present if item)
    check_may_pull(entry, options)
    with scratch_folder(base) as scratch:
        fetcher = Fetcher(options, scratch)
        located = install_locator(entry, base=base, scratch=scratch, fetcher=fetcher)
        return (*located, _pull_one(entry, base=base, scratch=scratch, fetcher=fetcher))


def install_locator(entry: Entry, *, base: Path, scratch: Path, fetcher: Fetcher) -> tuple[Installed, ...]:
    """Look after the locator that an entry needs: out of the files brought by hand if it is in them.

    Returns:
        The locator, or nothing if the entry needs none.
    """
    if not entry.locator:
        return ()
    locator, options = find_entry(entry.locator), fetcher.options
    if options.from_files:
        present = _present(locator, base, force=False)
        if present:
            return (present,)
        try:
            return (_pull_one(locator, base=base, scratch=scratch, fetcher=fetcher),)
        except ModelError:
            fetcher = replace(fetcher, options=replace(options, from_files=()))
    return (_pull_one(locator, base=base, scratch=scratch, fetcher=fetcher),)


def _pull_one(entry: Entry, *, base: Path, scratch: Path, fetcher: Fetcher) -> Installed:
    present = _present(entry, base, force=fetcher.options.force)
    if present:
        return present
    weights = new_folder(scratch / f"{entry.name}-weights")
    source = acquire(entry, weights, models_dir=base, fetcher=fetcher)
    built = new_folder(scratch / entry.name)
    card = build_bundle(entry, weights, built, source=source, models_dir=base)
    cosine = run_selftest(built, name=entry.name)
    faster = _present(entry, base, force=fetcher.options.force)
    if faster:
        return faster  # another pull has put the same bundle there meanwhile; its readers are left in peace
    status = put_in_place(built, base / entry.name)
    return Installed(entry.name, status, base / entry.name, card.model_id, str(source["address"]), cosine)


def _present(entry: Entry, base: Path, *, force: bool) -> Installed | None:
    """The bundle that is there, if it is whole and the one that the registry pins."""
    if force:
        return None
    try:
        bundle = open_bundle(entry.name, models_dir=base)
    except ModelError:
        return None  # not there, or damaged: bring it
    if entry.model_id and bundle.model_id != entry.model_id:
        return None  # of an earlier registry
    return Installed(entry.name, "present", bundle.path, bundle.model_id)


def _pull_bundles(name: str, paths: list[Path], *, base: Path, options: PullOptions) -> tuple[Installed, ...]:
    """Install whole bundles brought by hand: the named one, and its locator if it is among them."""
    done = []
    with scratch_folder(base) as scratch:
        staged: dict[str, Path] = {}
        for i, path in enumerate(paths):
            folder = new_folder(scratch / f"bundle{i}")
            card = _stage(path, folder)
            staged[card.name] = folder
        if name not in staged:
            msg = f"the bundles given are {', '.join(staged)}, not {name}"
            raise UsageError(msg)
        for found, folder in staged.items():
            bundle = open_bundle(folder, models_dir=base)
            pinned = entries()[found].model_id if found in entries() else ""
            if pinned and bundle.model_id != pinned:
                msg = f"this bundle is called {found} but is not it: model_id {bundle.model_id}, not {pinned}"
                raise ModelIntegrityError(msg)
            done.append(_place_bundle(bundle, base, force=options.force))
        locator = open_bundle(name, models_dir=base).card.locator_name
    if locator and locator not in staged and locator in entries():
        done = [*pull(locator, models_dir=base, options=replace(options, from_files=())), *done]
    return tuple(done)


def _place_bundle(bundle: ModelBundle, base: Path, *, force: bool) -> Installed:
    here = base / bundle.name
    try:
        same = not force and open_bundle(here, models_dir=base).model_id == bundle.model_id
    except ModelError:
        same = False  # nothing there, or damaged
    if same:
        return Installed(bundle.name, "present", here, bundle.model_id)
    cosine = run_selftest(bundle.path, name=bundle.name)
    status = put_in_place(bundle.path, here)
    return Installed(bundle.name, status, here, bundle.model_id, "file", cosine)


def _stage(path: Path, folder: Path) -> Card:
    if not path.is_dir():
        unpack_bundle(path, folder)
        return read_card(folder / CARD_FILE)
    card = read_card(path / CARD_FILE)
    for name in [CARD_FILE, *card.files, OPERATING_POINTS_FILE]:
        if name != OPERATING_POINTS_FILE or (path / name).is_file():
            copy_file(path / name, folder / name)
    for one in path.iterdir():
        if COHORT_FILE.fullmatch(one.name) and one.is_file():
            copy_file(one, folder / one.name)
    return card
