"""Names of several models that decide together, and the operating points that come with verify for them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from verify.errors import UsageError
from verify.models.operating_points import read_operating_points
from verify.models.places import canonical_name

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from verify.types import OperatingPoint

JOINT = "+"
_SHIPPED = Path(__file__).with_name("operating_points")


def is_fusion(model: str | os.PathLike[str] | None) -> bool:
    """Whether this names several models; a folder may have a plus in its path."""
    return isinstance(model, str) and JOINT in model and not Path(model).exists()


def part_names(models: str) -> tuple[str, ...]:
    """The models behind ``sface+dlib``: names of the registry or paths, aliases resolved.

    Raises:
        UsageError: fewer than two, an empty name or one twice.
    """
    names = tuple(canonical_name(name.strip()) for name in models.split(JOINT))
    if len(names) < 2 or not all(names) or len(set(names)) != len(names):  # noqa: PLR2004
        msg = f"{models!r}: name two models or more, each once, for example sface+dlib or face+voice"
        raise UsageError(msg)
    return names


def shipped_fusion_points(names: Sequence[str], *, model_ids: Sequence[str]) -> tuple[OperatingPoint, ...]:
    """The operating points that come with verify for these models together; none if not for these very models."""
    for path in sorted(_SHIPPED.glob(f"*{JOINT}*.json")):
        if set(path.stem.split(JOINT)) != set(names):
            continue
        points = read_operating_points(path)
        parts = [
            {part.model_id for part in point.fusion.parts} for point in points if point.fusion is not None
        ]
        if len(parts) == len(points) and all(one == set(model_ids) for one in parts):
            return points
    return ()
