"""What a run writes down: ``log.jsonl``, one JSON object a line, and curves for TensorBoard.

Every line has ``event`` (start, step, validation, checkpoint, alarm, stop, end), ``step`` (updates done) and
``time_s`` (Unix time). When a run resumes, lines of steps that are done again are dropped first, so
that the file reads as if the run had never stopped.
"""

from __future__ import annotations

import json
import math
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from verify.atomic import write_file
from verify.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

LOG = "log.jsonl"
CURVES = "tensorboard"


class RunLog:
    """The log of one run; in processes other than the first it does nothing.

    Args:
        run_dir: of the run.
        from_step: what lies after it is dropped.
        active: whether this process writes.
        clock: Unix time in seconds.
    """

    def __init__(
        self,
        run_dir: Path,
        *,
        from_step: int = 0,
        active: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock, self._path = clock, run_dir / LOG
        self._stream, self._curves = None, None
        if active:
            _keep_until(self._path, from_step)
            try:
                self._stream = self._path.open("a", encoding="utf-8")
            except OSError as error:
                raise _unwritable(self._path, error) from error
            self._curves = _curves(run_dir / CURVES, from_step=from_step)

    def write(self, event: str, *, step: int, **values: Any) -> None:
        """Add one line; numbers that are not finite become null.

        Raises:
            StorageError: the disk is full.
        """
        if self._stream is None:
            return
        line = {"event": event, "step": step, "time_s": round(self._clock(), 3), **values}
        try:
            self._stream.write(json.dumps(_finite(line)) + "\n")
            self._stream.flush()
        except OSError as error:
            raise _unwritable(self._path, error) from error

    def curves(self, group: str, values: Mapping[str, float], *, step: int) -> None:
        """Add a point to each curve ``group/name`` of TensorBoard, if it is installed."""
        if self._curves is not None:
            for name, value in values.items():
                self._curves.add_scalar(f"{group}/{name}", value, step)

    def close(self) -> None:
        """Flush and close what is open; a full disk has been reported before."""
        with suppress(OSError):
            if self._stream is not None:
                self._stream.close()
            if self._curves is not None:
                self._curves.close()


def read_log(run_dir: Path) -> list[dict[str, Any]]:
    """The lines of a run's log; a last one that was cut short by a kill is left out."""
    lines = []
    with suppress(FileNotFoundError):
        for line in (run_dir / LOG).read_text(encoding="utf-8").splitlines():
            with suppress(ValueError):
                lines.append(json.loads(line))
    return lines


def _keep_until(path: Path, step: int) -> None:
    kept = [line for line in read_log(path.parent) if line["step"] <= step and step > 0]
    if path.exists():
        write_file(path, "".join(json.dumps(line) + "\n" for line in kept).encode())


def _curves(folder: Path, *, from_step: int) -> Any:
    """TensorBoard's writer; None without tensorboard, whose curves the JSON lines hold, too."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    try:
        return SummaryWriter(str(folder), purge_step=from_step + 1 if from_step else None, flush_secs=10)
    except OSError as error:
        raise _unwritable(folder, error) from error


def _unwritable(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"{path} cannot be written ({error.strerror or error}): make room, then go on with --resume"
    )


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, (list, tuple)) else value
