"""From several models' captures to one decision: who can speak, at which threshold, with which sum."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from verify.engine.evidence import Scored, captured_side, enrolled_side, scored, template_llrs
from verify.engine.outcomes import Parties, decided, undecided
from verify.errors import NoDecisionError
from verify.gallery.vectors import exact_cosines
from verify.metrics.evidence import fused_llr
from verify.types import PartScore, Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from verify.capture import CapturePolicy
    from verify.engine.evidence import Side
    from verify.engine.panel import Bar, Panel
    from verify.protocols import Gallery
    from verify.types import Capture, Decision, Modality, Source


@dataclass(frozen=True, slots=True)
class Heard:
    """What one model has to go by: both sides, or why it has none.

    Attributes:
        reference: the enrolled side.
        probe: the probe's capture; None where it was not given or not looked at.
        compared: the reference's capture, where two samples are compared.
        failure: why this model cannot speak; None if it can.
        message: the same in words.
    """

    reference: Side | None = None
    probe: Capture | None = None
    compared: Capture | None = None
    failure: Reason | None = None
    message: str = ""


def hear_claim(
    panel: Panel,
    gallery: Gallery,
    subject_id: str,
    probes: Mapping[Modality, Source],
    *,
    policy: CapturePolicy,
) -> dict[str, Heard]:
    """What each model has to say about a claimed subject; see `FusedVerifier.match`."""
    heard: dict[str, Heard] = {}
    for modality in panel.modalities:
        members = panel.members(modality)
        references = {
            model_id: enrolled_side(gallery, subject_id, model_id=model_id, with_quality=True)
            for model_id in members
        }
        if modality not in probes:
            heard |= _silent(members, None, f"no {modality.value} sample was given")
        elif not all(references.values()):
            heard |= _silent(members, *_not_enrolled(panel, gallery, subject_id, modality, references))
        else:
            captured = _captured(panel, members, probes[modality], policy)
            heard |= {
                model_id: Heard(references[model_id], capture, None, capture.failure, capture.message)
                for model_id, capture in captured.items()
            }
    return heard


def hear_pair(
    panel: Panel,
    references: Mapping[Modality, Source],
    probes: Mapping[Modality, Source],
    *,
    policy: CapturePolicy,
) -> dict[str, Heard]:
    """What each model has to say about two samples a modality; see `FusedVerifier.compare`."""
    heard: dict[str, Heard] = {}
    for modality in panel.modalities:
        members = panel.members(modality)
        if modality not in probes or modality not in references:
            side = "reference" if modality not in references else "probe"
            heard |= _silent(members, None, f"no {modality.value} sample was given as {side}")
            continue
        first = _captured(panel, members, references[modality], policy)
        second = _captured(panel, members, probes[modality], policy)
        for model_id in members:
            one, other = first[model_id], second[model_id]
            failed = one if not one.ok else other
            side_of_one = captured_side(one) if one.ok else None
            heard[model_id] = Heard(side_of_one, other, one, failed.failure, failed.message)
    return heard


def decide(panel: Panel, heard: Mapping[str, Heard], *, subject_id: str | None = None) -> Decision:
    """One decision from what the models have to say; fails closed.

    A modality of which any model cannot speak is left out whole. The others decide by the ladder of just
    those models, at the same target; a capture outside a calibrated range is left out likewise.
    """
    heard = dict(heard)
    parties = _parties(panel, heard, subject_id)
    while True:
        speaking = frozenset(
            model_id
            for modality in panel.modalities
            for model_id in panel.members(modality)
            if all(_can_speak(heard[other]) for other in panel.members(modality))
        )
        if not speaking:
            return _nobody(panel, heard, parties)
        bar = panel.bar(speaking)
        aside = _aside(panel, heard, speaking)
        if bar.ruling.threshold is None:
            message = f"{aside}{bar.ruling.message}"
            found = undecided(Reason.NO_OPERATING_POINT, message, model=bar.model, parties=parties)
            return dataclasses.replace(found, parts=_parts(panel, heard, {}))
        judged = _judged(panel, bar, heard, speaking, parties)
        if isinstance(judged, dict):
            heard |= judged
            continue
        return dataclasses.replace(judged, message=f"{aside}{judged.message}")


def _judged(
    panel: Panel, bar: Bar, heard: Mapping[str, Heard], speaking: frozenset[str], parties: Parties
) -> Decision | dict[str, Heard]:
    """The decision, or the part that turned out to have nothing to say."""
    point = bar.ruling.point
    scores: dict[str, Scored] = {}
    fusion = None if point is None else point.fusion
    for model_id in (model_id for model_id in panel.capturers if model_id in speaking):
        one = heard[model_id]
        if one.reference is None or one.probe is None:  # ruled out by _can_speak
            return {model_id: dataclasses.replace(one, failure=Reason.INVALID_SAMPLES)}
        probe = captured_side(one.probe)
        try:
            if fusion is None:
                scores[model_id] = scored(point, one.reference, probe, cohorts=bar.cohorts)
                continue
            mapping = next(part.llr for part in fusion.parts if part.model_id == model_id)
            llr = float(template_llrs(mapping, one.reference, probe, cohorts=bar.cohorts).mean())
        except NoDecisionError as error:
            return {model_id: dataclasses.replace(one, failure=error.reason, message=str(error))}
        cosine = float(exact_cosines(one.reference.vectors, probe.vectors[0]).mean())
        scores[model_id] = Scored(llr, cosine, llr)
    if fusion is None:
        whole = next(iter(scores.values()))
        found = decided(whole, bar.ruling, model=bar.model, parties=parties)
    else:
        fused = float(fused_llr(fusion, [[scores[part.model_id].score] for part in fusion.parts])[0])
        found = decided(Scored(fused, 0.0, fused), bar.ruling, model=bar.model, parties=parties)
        found = dataclasses.replace(found, cosine=None)
    return dataclasses.replace(found, parts=_parts(panel, heard, scores))


def _can_speak(one: Heard) -> bool:
    return one.failure is None and one.reference is not None and one.probe is not None and one.probe.ok


def _captured(
    panel: Panel, members: tuple[str, ...], source: Source, policy: CapturePolicy
) -> dict[str, Capture]:
    return {model_id: panel.capturers[model_id].capture(source, policy=policy) for model_id in members}


def _silent(members: tuple[str, ...], reason: Reason | None, message: str) -> dict[str, Heard]:
    return dict.fromkeys(members, Heard(failure=reason, message=message))


def _not_enrolled(
    panel: Panel,
    gallery: Gallery,
    subject_id: str,
    modality: Modality,
    references: Mapping[str, Side | None],
) -> tuple[Reason, str]:
    missing = [model_id[:12] for model_id, side in references.items() if side is None]
    enrolled = any(record.modality is modality for record in gallery.records(subject_id))
    if not enrolled:
        return (
            Reason.UNKNOWN_SUBJECT,
            f"no {modality.value} reference for subject {subject_id!r}: `verify enroll` first",
        )
    message = (
        f"subject {subject_id!r} has no {modality.value} templates of model {', '.join(missing)}: enrol the same "
        f"samples again with all {len(panel.capturers)} models in use"
    )
    return Reason.MODEL_MISMATCH, message


def _nobody(panel: Panel, heard: Mapping[str, Heard], parties: Parties) -> Decision:
    failed = next((one for one in heard.values() if one.failure is not None), next(iter(heard.values())))
    messages = "; ".join(dict.fromkeys(one.message for one in heard.values() if one.message))
    reason = failed.failure or Reason.MISSING_FILE
    space = panel.bar(panel.everyone).ruling.score_space
    found = undecided(reason, messages, model=panel.model, parties=parties, space=space)
    return dataclasses.replace(found, parts=_parts(panel, heard, {}))


def _aside(panel: Panel, heard: Mapping[str, Heard], speaking: frozenset[str]) -> str:
    """Who does not take part and why, in words; empty if everybody does."""
    if speaking == panel.everyone:
        return ""
    present = " and ".join(m.value for m in panel.modalities if set(panel.members(m)) & speaking)
    why = "; ".join(
        dict.fromkeys(
            heard[model_id].message
            for model_id in panel.capturers
            if model_id not in speaking and heard[model_id].message
        )
    )
    return f"judged by {present} alone, by an operating point of its own at the same target ({why}): "


def _parts(panel: Panel, heard: Mapping[str, Heard], scores: Mapping[str, Scored]) -> tuple[PartScore, ...]:
    return tuple(
        PartScore(
            model_id=model_id,
            modality=capturer.modality,
            cosine=scores[model_id].cosine if model_id in scores else None,
            llr=scores[model_id].llr if model_id in scores else None,
            failure=heard[model_id].failure,
        )
        for model_id, capturer in panel.capturers.items()
    )


def _parties(panel: Panel, heard: Mapping[str, Heard], subject_id: str | None) -> Parties:
    """The first model's captures stand for the sample; the others' facts are in the parts."""
    probes = [heard[model_id].probe for model_id in panel.capturers]
    compared = [heard[model_id].compared for model_id in panel.capturers]
    return Parties(
        subject_id,
        probe=next((probe for probe in probes if probe is not None), None),
        reference=next((one for one in compared if one is not None), None),
    )
