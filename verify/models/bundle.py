"""Open model bundles: a folder or zip of weights and ``card.json``, checked before anything runs."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from verify.errors import ModelIntegrityError, ModelMismatchError, ModelNotInstalledError
from verify.models.card import CARD_FILE, NAME_PATTERN, Card, is_plain_file_name, read_card
from verify.models.operating_points import (
    COHORT_FILE,
    OPERATING_POINTS_FILE,
    read_operating_points,
    shipped_operating_points,
)
from verify.models.places import canonical_name, default_models_dir
from verify.models.stamps import check_files

if TYPE_CHECKING:
    import onnxruntime

    from verify.types import Modality, OperatingPoint


class ModelBundle:
    """One opened model: its card, its files and its runtime sessions. Safe across threads.

    Made by `open_bundle`. Sessions are created on first use and kept.
    """

    def __init__(self, path: Path, card: Card, *, models_dir: Path) -> None:
        self._path = path
        self._card = card
        self._models_dir = models_dir
        self._lock = threading.RLock()
        self._sessions: dict[tuple[str, int], onnxruntime.InferenceSession] = {}
        self._locator: ModelBundle | None = None
        self.is_zipped = False  # then `path` is a copy that goes away with this object

    def __repr__(self) -> str:
        return f"ModelBundle({self.name!r}, model_id={self.model_id[:12]!r}, path={str(self._path)!r})"

    @property
    def name(self) -> str:
        """Name of the bundle, as on its card."""
        return self._card.name

    @property
    def modality(self) -> Modality:
        """Face or voice."""
        return self._card.modality

    @property
    def model_id(self) -> str:
        """sha256 over weights, preprocessing, post-processing and locator."""
        return self._card.model_id

    @property
    def path(self) -> Path:
        """The folder that holds the files."""
        return self._path

    @property
    def card(self) -> Card:
        """The card: contract, licence, sources, measured results."""
        return self._card

    def file(self, name: str) -> Path:
        """Path of one of the bundle's files, whose hash was checked when the bundle was opened.

        Raises:
            ModelIntegrityError: the card lists no such file.
        """
        if name not in self._card.files:
            msg = f"bundle {self.name} has no file {name!r}; it has {', '.join(sorted(self._card.files))}"
            raise ModelIntegrityError(msg)
        return self._path / name

    def session(self, file: str = "model.onnx", *, threads: int = 1) -> onnxruntime.InferenceSession:
        """The ONNX Runtime session of one graph, on the CPU, with `threads` threads inside operators.

        One session serves all threads of the program; it is made on first use.

        Raises:
            ModelIntegrityError: there is no such file, or ONNX Runtime cannot load it.
        """
        path = self.file(file)
        with self._lock:
            key = (file, threads)
            if key not in self._sessions:
                self._sessions[key] = load_session(path, threads=threads)
            return self._sessions[key]

    def locator(self) -> ModelBundle:
        """The locator whose regions this embedder's inputs are cut by, of exactly the card's model_id.

        Raises:
            ModelIntegrityError: the card names none.
            ModelNotInstalledError: it is not on this machine.
            ModelMismatchError: what is there under its name is another model.
        """
        name, wanted = self._card.locator_name, self._card.locator_id
        if name is None:
            msg = f"bundle {self.name} names no locator"
            raise ModelIntegrityError(msg)
        with self._lock:
            if self._locator is None:
                found = open_bundle(name, models_dir=self._models_dir)
                if found.model_id != wanted:
                    msg = (
                        f"{self.name} needs the locator {name} of model_id {str(wanted)[:12]}, "
                        f"but {found.path} is {found.model_id[:12]}; "
                        f"bring the matching one: verify models pull {name} --force"
                    )
                    raise ModelMismatchError(msg)
                self._locator = found
            return self._locator

    def operating_points(self) -> tuple[OperatingPoint, ...]:
        """The proven thresholds in the bundle, else those that come with verify for this very model.

        Empty if there are none.

        Raises:
            ModelIntegrityError: the file was changed by hand or is malformed.
            ModelMismatchError: the points are of another model_id.
        """
        path = self._path / OPERATING_POINTS_FILE
        if not path.exists():
            shipped = shipped_operating_points(self.name, model_id=self.model_id)
            return read_operating_points(shipped) if shipped else ()
        points = read_operating_points(path)
        strangers = sorted({point.model_id[:12] for point in points if point.model_id != self.model_id})
        if strangers:
            msg = (
                f"{path} holds for model_id {', '.join(strangers)}, but this bundle is {self.model_id[:12]}: "
                "calibrate again (verify calibrate), thresholds do not carry over between models"
            )
            raise ModelMismatchError(msg)
        return points


def load_session(model: Path | bytes, *, threads: int = 1) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session on the CPU, with its threads set on purpose and its log kept quiet.

    Raises:
        ModelIntegrityError: ONNX Runtime cannot load the graph.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only: warnings about unused constants are not the user's concern
    source: Any = model if isinstance(model, bytes) else str(model)
    try:
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises a dozen unrelated types
        name = "the graph" if isinstance(model, bytes) else model
        msg = f"ONNX Runtime {onnxruntime.__version__} cannot load {name}: {error}"
        raise ModelIntegrityError(msg) from error


def open_bundle(name_or_path: str | os.PathLike[str], *, models_dir: Path | None = None) -> ModelBundle:
    """Open a model bundle by name, alias (``face``, ``voice``) or path of a folder or zip.

    Every file's sha256 is held against the card; files that passed once and have not been touched
    since are not read again.

    Args:
        name_or_path: a name is looked up in `models_dir`; what has a path separator, is a
            `Path`, or ends in ``.zip`` is taken as a path.
        models_dir: folder of bundles; default VERIFY_MODELS, else the platform's data folder.

    Raises:
        UnknownModelError: no model of this name.
        ModelNotInstalledError: known, but not on this machine; the message says how to bring it.
        ModelIntegrityError: a file differs from the card, or the card is malformed.
    """
    base = default_models_dir() if models_dir is None else Path(models_dir)
    text = os.fspath(name_or_path)
    if isinstance(name_or_path, str) and not is_path(text):
        return _open_named(canonical_name(text), base=base)
    path = Path(text)
    if path.is_dir():
        return _open_folder(path, models_dir=_home_of(path, base))
    if path.is_file():
        return _open_zip(path, models_dir=_home_of(path, base))
    msg = f"no model bundle at {path}: expected a folder or zip with {CARD_FILE}"
    raise ModelNotInstalledError(msg)


def is_path(text: str) -> bool:
    """Whether a model is meant by its place, not by its name."""
    return "/" in text or "\\" in text or text.endswith(".zip") or text in {".", ".."}


def _home_of(path: Path, base: Path) -> Path:
    # A bundle given by path finds its locator beside itself first: a folder of bundles can be moved as one.
    beside = path.resolve().parent
    if (path / CARD_FILE).is_file():
        locator = read_card(path / CARD_FILE).locator_name
        return beside if locator and (beside / locator / CARD_FILE).is_file() else base
    return beside if list(beside.glob(f"*/{CARD_FILE}"))[1:] else base


def _open_named(name: str, *, base: Path) -> ModelBundle:
    if NAME_PATTERN.fullmatch(name):
        for place in (base / name, base / f"{name}.zip"):
            if (place / CARD_FILE).is_file() or (place.suffix == ".zip" and place.is_file()):
                opened = _open_folder if place.is_dir() else _open_zip
                return _check_name(opened(place, models_dir=base), name, place)
    from verify.models.registry import find_entry

    entry = find_entry(name)  # raises for unknown names, with the known and the nearest
    msg = (
        f"model {entry.name} is not installed in {base}; bring it with: verify models pull {entry.name} "
        f"(without network: verify models pull {entry.name} --from-file FILE, "
        "or set VERIFY_MODELS to a folder of bundles)"
    )
    raise ModelNotInstalledError(msg)


def _check_name(bundle: ModelBundle, name: str, place: Path) -> ModelBundle:
    if bundle.name != name:
        msg = f"{place} holds the model {bundle.name}, not {name}: rename it, or open it by its path"
        raise ModelIntegrityError(msg)
    return bundle


def _open_folder(path: Path, *, models_dir: Path) -> ModelBundle:
    if not (path / CARD_FILE).is_file():
        msg = f"{path} is no model bundle: it has no {CARD_FILE}"
        raise ModelNotInstalledError(msg)
    card = read_card(path / CARD_FILE)
    check_files(path, card)
    return ModelBundle(path, card, models_dir=models_dir)


def _open_zip(path: Path, *, models_dir: Path) -> ModelBundle:
    """Unpack into a private folder that goes away with the bundle, then open that."""
    import tempfile
    import weakref

    holder = tempfile.TemporaryDirectory(prefix="verify-bundle-", ignore_cleanup_errors=True)
    try:
        unpack_bundle(path, Path(holder.name))
        bundle = _open_folder(Path(holder.name), models_dir=models_dir)
    except BaseException:
        holder.cleanup()
        raise
    bundle.is_zipped = True
    weakref.finalize(bundle, holder.cleanup)
    return bundle


def unpack_bundle(archive: Path, target: Path) -> None:
    """Write a zipped bundle's card, listed files, operating points and cohorts to `target`; nothing else.

    Raises:
        ModelIntegrityError: no zip, no card, a file missing or larger than the card says.
    """
    from verify.models.archives import Archive

    with Archive(archive) as members:
        root = members.folder_of(CARD_FILE)
        members.write(root + CARD_FILE, target / CARD_FILE)
        card = read_card(target / CARD_FILE)
        for name, facts in card.files.items():
            if not is_plain_file_name(
                name
            ):  # read_card has refused this; never write outside whatever changes there
                raise ModelIntegrityError(name)
            members.write(root + name, target / name, max_bytes=int(facts["size"]))
        if members.has(root + OPERATING_POINTS_FILE):
            members.write(root + OPERATING_POINTS_FILE, target / OPERATING_POINTS_FILE)
            for name in filter(COHORT_FILE.fullmatch, members.names_in(root)):
                members.write(root + name, target / name)


def read_zipped_card(archive: Path) -> Card:
    """The card of a zipped bundle, without unpacking the rest.

    Raises:
        ModelIntegrityError: no zip, no card, or the card is malformed.
    """
    import tempfile

    from verify.models.archives import Archive

    with tempfile.TemporaryDirectory(prefix="verify-card-") as folder, Archive(archive) as members:
        members.write(members.folder_of(CARD_FILE) + CARD_FILE, Path(folder) / CARD_FILE)
        return read_card(Path(folder) / CARD_FILE)
