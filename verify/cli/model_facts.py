"""What a report says of the model: its name, and all that its preprocessing depends on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from verify.capture import Capturer


def model_facts(capturer: Capturer) -> dict[str, Any]:
    """As `verify.facts` takes it; ``model_id`` is added there."""
    card = capturer.bundle.card
    return {
        "name": capturer.bundle.name,
        "modality": str(capturer.modality),
        "preprocessing": {"locator": card.locator_name or "none", **card.input},
    }
