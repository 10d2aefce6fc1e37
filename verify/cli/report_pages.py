"""The pages that ``verify report`` writes, with their warnings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def compared(read: list[Any]) -> tuple[str, list[str]]:
    """Two reports side by side, and why they may not be."""
    from verify.report.compare import compare_page
    from verify.report.likeness import like_with_like

    return compare_page(*read), like_with_like(*read)


def drawn(facts: Any, media: Path | None) -> tuple[str, list[str]]:
    """One report, and what there is to warn of."""
    from verify.report.calibration import calibration_page
    from verify.report.strength import suspect_samples
    from verify.report.thumbnails import thumbnails

    if media is None:
        return calibration_page(facts), []
    pictures, left_out = thumbnails(suspect_samples(facts), media)
    warnings: list[Any] = ["the page holds photos of people: keep and share it as such"] if pictures else []
    if left_out:
        warnings.append(
            f"{len(left_out)} of the suspects' samples are no photos in {media}: {', '.join(left_out[:3])}"
        )
    return calibration_page(facts, thumbnails=pictures), warnings
