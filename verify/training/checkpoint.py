"""Checkpoints: folders of safetensors and one JSON, there in full or not at all.

    run/checkpoints/step-000123/   model.safetensors, objective.safetensors, optimiser.safetensors,
                                   ema.safetensors if the recipe keeps an average, and state.json
    run/checkpoints/last/, best/   the same files under a second name (hard links where the disk has them)

``state.json`` holds where the run stands, the whole recipe with its sha256, the hashes of data and split, the git
revision, what the random numbers hang on, and the sha256 of every file beside it. A folder is written under
another name, flushed and renamed: a kill at any moment leaves the checkpoints that were there. Nothing is pickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.torch import load as tensors_of
from safetensors.torch import save as bytes_of

import verify
from verify.atomic import exchange, sync_folder, write_file
from verify.config import plain
from verify.errors import ModelIntegrityError, StorageError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from verify.training.recipe import Recipe

    Tensors = Mapping[str, Tensor]

FORMAT = 1
STATE = "state.json"
BEST, LAST = "best", "last"
# keys that may differ in a resumed run: where bytes lie (their hashes are compared instead), who reads them,
# what stays on disk; nothing that is computed hangs on them
FREE = ("data.sets", "data.workers", "run.keep", "run.checkpoint_steps")


def folder_of(run_dir: Path) -> Path:
    """Where the checkpoints of a run lie."""
    return run_dir / "checkpoints"


def save(
    run_dir: Path,
    *,
    step: int,
    tensors: Mapping[str, Tensors],
    state: Mapping[str, Any],
    rank: int = 0,
    barrier: Callable[[], None] = lambda: None,
) -> Path:
    """Write one checkpoint and make it the last; called by every process that has tensors of its own.

    Args:
        run_dir: of the run.
        step: updates done.
        tensors: file name without suffix -> tensors by name, on any device.
        state: what else ``state.json`` holds; of the first process.
        rank: of this process; the first one makes the folder and gives it its name.
        barrier: waits until all processes are here.

    Raises:
        StorageError: the disk is full or may not be written; the checkpoints before are whole.
    """
    target = folder_of(run_dir) / f"step-{step:06d}"
    partial = _partial(target)
    try:
        if rank == 0:
            _new_folder(partial)
        barrier()
        for name, named in tensors.items():
            write_file(partial / f"{name}.safetensors", bytes_of(_plain(named)))
        barrier()
        if rank == 0:
            files = {path.name: _sha256(path.read_bytes()) for path in sorted(partial.iterdir())}
            document = {"format": FORMAT, "verify": verify.__version__, "step": step, **state, "files": files}
            write_file(partial / STATE, json.dumps(document, indent=1, sort_keys=True).encode())
            _put(partial, target)
            publish(target, name=LAST)
    except (OSError, StorageError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        reason = getattr(error, "strerror", None) or error
        msg = (
            f"{target} cannot be written ({reason}); the checkpoint before is whole: make room, then go on with"
            " --resume"
        )
        raise StorageError(msg) from error
    return target


def publish(checkpoint: Path, *, name: str) -> None:
    """Give a checkpoint a second name, `BEST` or `LAST`, in place of the one that had it."""
    target = checkpoint.with_name(name)
    partial = _partial(target)
    _new_folder(partial)
    for path in checkpoint.iterdir():
        try:
            os.link(path, partial / path.name)
        except OSError:  # a file system without hard links
            shutil.copy2(path, partial / path.name)
    _put(partial, target)


def prune(run_dir: Path, *, keep: int) -> None:
    """Remove all but the newest `keep` steps (at least one); best and last stay, and so do their files."""
    steps = sorted(folder_of(run_dir).glob("step-*"), key=lambda path: int(path.name.removeprefix("step-")))
    for path in steps[: -max(1, keep)]:
        shutil.rmtree(path, ignore_errors=True)


def newest(run_dir: Path) -> Path | None:
    """The checkpoint to resume from: the one with the most steps; None if there is none yet."""
    folders = [path for path in sorted(folder_of(run_dir).glob("[!.]*")) if (path / STATE).is_file()]
    return max(folders, key=lambda path: (int(read_state(path)["step"]), path.name), default=None)


def read_state(checkpoint: Path) -> dict[str, Any]:
    """``state.json`` of a checkpoint.

    Raises:
        ModelIntegrityError: it is missing, broken, or of a later version.
    """
    path = checkpoint / STATE
    try:
        state: dict[str, Any] = json.loads(path.read_bytes())
        version = state["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f"{path} is not the state of a checkpoint ({error}); name another checkpoint, or remove this folder"
        raise ModelIntegrityError(msg) from error
    if version != FORMAT:
        msg = f"{path} has format {version}; this version of verify reads {FORMAT}"
        raise ModelIntegrityError(msg)
    return state


def read_tensors(checkpoint: Path, name: str) -> dict[str, Tensor]:
    """The tensors of one file of a checkpoint, in memory.

    Raises:
        ModelIntegrityError: the file is missing or differs from the hash in ``state.json``.
    """
    path = checkpoint / f"{name}.safetensors"
    expected = read_state(checkpoint)["files"].get(path.name)
    try:
        data = path.read_bytes()
        if _sha256(data) != expected:
            msg = f"{path} differs from what was written; remove the folder {checkpoint.name} to use another checkpoint"
            raise ModelIntegrityError(msg)
        return dict(tensors_of(data))
    except (OSError, SafetensorError) as error:
        msg = (
            f"{path} cannot be read ({error}); remove the folder {checkpoint.name} to use another checkpoint"
        )
        raise ModelIntegrityError(msg) from error


def check_same_run(
    checkpoint: Path, state: Mapping[str, Any], *, recipe: Recipe, hashes: Mapping[str, str]
) -> None:
    """Refuse to go on with another recipe or other data than the checkpoint's.

    Raises:
        UsageError: names every key that differs, with both values.
    """
    theirs, ours = _flat(state["recipe"]), _flat(plain(recipe))
    differing = [
        f"{key} was {theirs.get(key, 'not there')!r}, is {ours.get(key, 'not there')!r}"
        for key in sorted(theirs.keys() | ours.keys())
        if theirs.get(key) != ours.get(key) and not key.startswith(FREE)
    ]
    differing += [
        f"{key} was {state[key][:12]}..., is {value[:12]}..."
        for key, value in hashes.items()
        if state[key] != value
    ]
    if differing:
        msg = (
            f"{checkpoint} is of another run: {'; '.join(differing)}. Resume with the recipe and data that it began"
            " with, or begin anew in another folder, with model.initial naming this run to start from its weights"
        )
        raise UsageError(msg)


def git_revision() -> str:
    """Revision of this source, with ``+`` behind it if there are changes; empty where it is no checkout of verify."""
    source = Path(verify.__file__)

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(source.parent), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)  # noqa: S603
        return done.stdout.strip()

    with suppress(OSError, subprocess.SubprocessError):
        git("ls-files", "--error-unmatch", source.name)  # installed inside another project's checkout?
        return git("describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*")
    return ""


def clean(run_dir: Path) -> None:
    """Remove what a killed run left half written."""
    for path in folder_of(run_dir).glob(".*.partial"):
        shutil.rmtree(path, ignore_errors=True)


def _flat(value: Any, *, at: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` as ``{"a.b": 1}``; lists of tables likewise, by position."""
    if isinstance(value, dict):
        items = [(f"{at}.{key}" if at else str(key), item) for key, item in value.items()]
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        items = [(f"{at}[{number}]", item) for number, item in enumerate(value, 1)]
    else:
        return {at: value}
    return {key: leaf for name, item in items for key, leaf in _flat(item, at=name).items()}


def _plain(named: Tensors) -> dict[str, Tensor]:
    """On the CPU, contiguous, sharing nothing: what safetensors can hold."""
    return {name: tensor.detach().to("cpu").contiguous().clone() for name, tensor in named.items()}


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _partial(target: Path) -> Path:
    return target.with_name(f".{target.name}.partial")


def _new_folder(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)


def _put(partial: Path, target: Path) -> None:
    """Rename a finished folder into place; what was there is gone, in one step where the system can."""
    sync_folder(partial)
    if not target.exists():
        partial.rename(target)
    else:
        if not exchange(partial, target):
            shutil.rmtree(target)
            partial.rename(target)
        shutil.rmtree(partial, ignore_errors=True)
    sync_folder(target.parent)
