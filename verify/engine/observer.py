"""Who wants to know what was decided, and may neither change it nor see a template."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from verify.types import Capture, Decision, Identification

    Observer: TypeAlias = Callable[[Decision | Identification], None]

_LOG = logging.getLogger("verify.engine")


def tell(observer: Observer | None, result: Decision | Identification) -> None:
    """Give the observer a copy without template vectors.

    Whatever it raises becomes a warning in the log ``verify.engine`` and the decision stands: a full disk
    under a monitor must neither open nor close a door. (A log record, not `warnings.warn`, which a
    program can turn into an exception.)
    """
    if observer is None:
        return
    try:
        observer(without_templates(result))
    except Exception as error:  # noqa: BLE001  the observer is not ours
        _LOG.warning("on_decision failed, the decision stands: %s: %s", type(error).__name__, error)


def without_templates(result: Decision | Identification) -> Decision | Identification:
    """A copy whose captures tell everything but the template's numbers: its vector is empty."""
    from verify.types import Decision

    probe = _emptied(result.probe)
    if isinstance(result, Decision):
        return replace(result, probe=probe, reference=_emptied(result.reference))
    return replace(result, probe=probe)


def _emptied(capture: Capture | None) -> Capture | None:
    if capture is None or capture.template is None:
        return capture
    template = replace(capture.template, vector=capture.template.vector[:0].copy())
    return replace(capture, template=template)
