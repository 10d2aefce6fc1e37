"""What an augmentation is, and how a recipe's table becomes some."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from verify.config import build, unknown
from verify.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from verify.training.augment.dice import Dice

Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Scene:
    """What an augmentation works with besides the samples that it changes.

    Attributes:
        dice: its random numbers.
        whole: (B, ...) the whole batch, before it.
        material: what its `Augmentation.material` made, on the device.
    """

    dice: Dice
    whole: Tensor = field(repr=False)
    material: Mapping[str, Tensor] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """One way to change samples without changing who they are of.

    Attributes:
        probability: that a sample is changed.
    """

    probability: float = 0.5

    def __post_init__(self) -> None:
        require(0.0 <= self.probability <= 1.0, "probability", self.probability, "from 0 to 1")

    def material(self) -> dict[str, Tensor]:
        """Tensors that it needs on the device; made once, before training."""
        return {}

    def change(self, part: Tensor, scene: Scene) -> Tensor:
        """Change all of `part`, the chosen samples: (M, ...) to the same shape."""
        raise NotImplementedError

    def __call__(self, scene: Scene) -> Tensor:
        """The scene's whole batch with some of its samples changed, in place where that is possible."""
        rows = scene.dice.chosen(len(scene.whole), self.probability)
        if rows is None:
            return scene.whole
        if len(rows) == len(scene.whole):
            return self.change(scene.whole, scene)
        return scene.whole.index_copy_(0, rows, self.change(scene.whole[rows], scene))


def read(
    table: Mapping[str, Any], known: Mapping[str, type[Augmentation]], *, where: str = "augment"
) -> dict[str, Augmentation]:
    """The augmentations that a table asks for, in the order of `known`, which is nature's.

    Args:
        table: name to probability, to a table of options, or to true (as its defaults are) or false.
        known: the modality's augmentations.
        where: begins every message.

    Raises:
        UsageError: an unknown name or option (the message has the nearest), or a value out of its range.
    """
    for name in table:
        if name not in known:
            raise UsageError(f"{where}: {unknown(name, known, what='augmentation')}")  # noqa: TRY003, EM102
    return {
        name: _one(known[name], table[name], where=f"{where}, {name}")
        for name in known
        if name in table and table[name] is not False
    }


def _one(kind: type[Augmentation], value: Any, *, where: str) -> Augmentation:
    if value is True:
        value = {}
    elif not isinstance(value, Mapping):
        value = {"probability": value}
    try:
        return build(kind, value, where=where)
    except UsageError as error:
        raise error if str(error).startswith(where) else UsageError(f"{where}, {error}") from None


def require(holds: bool, key: str, value: object, wanted: str) -> None:  # noqa: FBT001
    """Refuse an option's value.

    Raises:
        UsageError: it does not hold; the message has key, value and what is wanted.
    """
    if not holds:
        msg = f"{key}: must be {wanted}, not {value!r}"
        raise UsageError(msg)


def require_span(span: Span, key: str, *, low: float, high: float) -> None:
    """Refuse a span that is not two ascending numbers from `low` to `high`."""
    require(low <= span[0] <= span[1] <= high, key, list(span), f"two ascending numbers from {low} to {high}")
