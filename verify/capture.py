"""From sample to template, for any modality: decode, locate, normalise, quality, embed.

One `Capturer` holds one model bundle and its locator. It is safe across threads. What the sample
shows (no face, two faces, too little speech) comes back as a `Capture` with a named failure; what
cannot be read at all raises `MediaError`, because no capture took place.
"""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from verify.errors import MediaError, ModelError, ModelMismatchError, NoDecisionError, UsageError
from verify.types import Capture, FaceRegion, Modality, Quality, Reason, Sample, Template

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from verify.models import ModelBundle
    from verify.types import Source
    from verify.voice.normalise import SpeechChunk

_AUDIO_MAGIC = (b"fLaC", b"OggS", b"ID3", b"\xff\xfb", b"\xff\xf3", b"\xff\xf2", b"\xff\xfa", b".snd")
_AUDIO_FORMS = {(b"RIFF", b"WAVE"), (b"RF64", b"WAVE"), (b"FORM", b"AIFF"), (b"FORM", b"AIFC")}
_AUDIO_SUFFIXES = frozenset(
    {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".m4a", ".aac", ".wma"}
)


# Part of every card's input contract and so of the model_id. Raise it when a stage changes what it makes
# of a sample: templates and operating points from before then never meet those from after.
REVISIONS = {Modality.FACE: 1, Modality.VOICE: 1}
NOT_JUDGED = "not judged"  # value of the contract's key `several_speakers`


class Profile(StrEnum):
    """How strict the quality checks are: a reference lives for years, a probe for a second."""

    PROBE = "probe"
    ENROLMENT = "enrolment"


@dataclass(frozen=True, slots=True)
class CapturePolicy:
    """What a capture tolerates.

    Attributes:
        profile: which quality limits apply.
        faces: ``largest`` takes the largest of several faces, ``refuse`` makes several faces a
            failure (`Reason.SEVERAL_FACES`).
        gate: whether failed quality checks fail the capture; False only reports them.
        min_net_speech_s: overrides the model card's minimum; None keeps it.
    """

    profile: Profile = Profile.PROBE
    faces: str = "largest"
    gate: bool = True
    min_net_speech_s: float | None = None

    def __post_init__(self) -> None:
        if self.faces not in ("largest", "refuse"):
            msg = f"faces must be 'largest' or 'refuse', not {self.faces!r}"
            raise UsageError(msg)


class _Chain(Protocol):
    """The stages of one modality with their model sessions."""

    def capture(self, source: Source, *, policy: CapturePolicy) -> Capture: ...


class Capturer:
    """Brings samples through the stages of one model bundle.

    Args:
        bundle: an embedder bundle; its locator comes with it.
        policy: what a capture tolerates, unless a call says otherwise.
        threads: compute threads of a single `capture`; `capture_many` runs one thread a worker.

    Raises:
        ModelError: the bundle is a locator, or was made for another revision of the stages.
    """

    def __init__(
        self, bundle: ModelBundle, *, policy: CapturePolicy | None = None, threads: int | None = None
    ) -> None:
        if bundle.card.task != "embedder":
            msg = (
                f"model {bundle.name} finds {bundle.modality.value}s, it does not compare them: name an embedder "
                "(`verify models list`)"
            )
            raise ModelError(msg)
        revision = bundle.card.input.get("revision", REVISIONS[bundle.modality])
        if revision != REVISIONS[bundle.modality]:
            msg = (
                f"model {bundle.name} was made for capture revision {revision}, this verify has revision "
                f"{REVISIONS[bundle.modality]}: `verify models pull {bundle.name} --force`, calibrate and enrol again"
            )
            raise ModelMismatchError(msg)
        self.bundle = bundle
        self.policy = policy or CapturePolicy()
        self.threads = threads or usable_cpus()
        self._chains: dict[int, _Chain] = {}

    @classmethod
    def open(
        cls,
        model: str | os.PathLike[str],
        *,
        models_dir: Path | None = None,
        profile: Profile | str = Profile.PROBE,
        min_net_speech_s: float | None = None,
        threads: int | None = None,
    ) -> Capturer:
        """Open a bundle by name, alias (``face``, ``voice``) or path; for the rest see `CapturePolicy`.

        Raises:
            ModelError: the model is unknown, not on this machine or damaged.
        """
        from verify.models import open_bundle

        policy = CapturePolicy(profile=Profile(profile), min_net_speech_s=min_net_speech_s)
        return cls(open_bundle(model, models_dir=models_dir), policy=policy, threads=threads)

    @property
    def modality(self) -> Modality:
        """Face or voice."""
        return self.bundle.modality

    @property
    def model_id(self) -> str:
        """The model_id that every template of this capturer carries."""
        return self.bundle.model_id

    def capture(self, source: Source, *, policy: CapturePolicy | None = None) -> Capture:
        """Capture one sample.

        Args:
            source: path, encoded bytes, binary file object or array (face: (H, W), (H, W, 3) RGB
                or (H, W, 4) RGBA; voice: see `verify.voice.decode`).
            policy: replaces the capturer's policy for this call.

        Raises:
            MediaError: the sample cannot be read.
        """
        return self._chain(self.threads).capture(source, policy=policy or self.policy)

    def capture_many(
        self, sources: Iterable[Source], *, workers: int | None = None, policy: CapturePolicy | None = None
    ) -> Iterator[Capture]:
        """Capture samples side by side; yield one `Capture` for each source, in their order.

        Unreadable samples come back as failed captures, so that one bad file does not end a
        batch. Memory stays bounded: at most four samples a worker are under way.
        """
        count = workers or usable_cpus()
        chain = self._chain(1)

        def one(source: Source) -> Capture:
            return self._or_failure(chain, source, policy or self.policy)

        yield from ordered_map(one, sources, workers=count)

    def capture_pair(
        self, one: Source, other: Source, *, policy: CapturePolicy | None = None
    ) -> tuple[Capture, Capture]:
        """Capture two samples side by side.

        Raises:
            MediaError: one of them cannot be read.
        """
        chain = self._chain(1)
        with ThreadPoolExecutor(2, thread_name_prefix="verify-capture") as pool:
            first = pool.submit(chain.capture, one, policy=policy or self.policy)
            second = chain.capture(other, policy=policy or self.policy)
            return first.result(), second

    def _or_failure(self, chain: _Chain, source: Source, policy: CapturePolicy) -> Capture:
        try:
            return chain.capture(source, policy=policy)
        except MediaError as error:
            return Capture(
                source=source_name(source),
                sha256="",
                modality=self.modality,
                failure=error.reason,
                message=str(error),
            )

    def _chain(self, threads: int) -> _Chain:
        chain = self._chains.get(threads)
        if chain is None:
            made: _Chain = (
                _FaceChain(self.bundle, threads=threads)
                if self.modality is Modality.FACE
                else _VoiceChain(self.bundle, threads=threads)
            )
            chain = self._chains.setdefault(threads, made)
        return chain


class _FaceChain:
    """decode -> locate -> choose -> normalise -> quality -> embed, one photo at a time."""

    def __init__(self, bundle: ModelBundle, *, threads: int) -> None:
        from verify.face.embed import open_embedder
        from verify.face.locate import open_locator

        self._contract = bundle.card.input
        with ThreadPoolExecutor(2) as pool:  # two model files load side by side: it halves a cold start
            locator = pool.submit(open_locator, bundle.locator(), threads=threads)
            self._embedder = open_embedder(bundle, threads=threads)
            self._locator = locator.result()

    def capture(self, source: Source, *, policy: CapturePolicy) -> Capture:
        from verify.face.decode import decode
        from verify.face.locate import choose
        from verify.face.normalise import views
        from verify.face.quality import FaceQualityLimits, assess

        sample = decode(source)
        try:
            region = choose(self._locator.locate(sample), policy=policy.faces)
        except NoDecisionError as error:
            return _failed(sample, error.reason, f"{sample.source}: {error}")
        chips = views(sample, region, contract=self._contract)
        enrolling = policy.profile is Profile.ENROLMENT
        limits = FaceQualityLimits.for_enrolment() if enrolling else FaceQualityLimits.for_probe()
        quality = assess(sample, region, chips[0], limits=limits)
        if policy.gate and not quality.ok:
            return _failed(
                sample, quality.reasons[0], _quality_message(sample.source, quality), quality, region
            )
        vector = self._embedder.embed([chips])[0]
        return _finished(sample, vector, self._embedder.model_id, quality, region)


_PIECES_UP_TO_S = 20.0


class _VoiceChain:
    """Blocks of at most half a minute pass through the stages, so an hour needs no more memory."""

    def __init__(self, bundle: ModelBundle, *, threads: int) -> None:
        from verify.voice.embed import VoiceEmbedder
        from verify.voice.locate import SileroLocator

        self._contract = bundle.card.input
        self._embedder = VoiceEmbedder(bundle, threads=threads)
        self._locator = SileroLocator(bundle.locator())

    def capture(self, source: Source, *, policy: CapturePolicy) -> Capture:
        import numpy as np

        from verify.voice.decode import open_audio
        from verify.voice.embed import agreement, average
        from verify.voice.normalise import chunks
        from verify.voice.quality import VoiceQualityLimits, VoiceQualityMeter

        least_s = policy.min_net_speech_s
        if least_s is None:
            least_s = float(self._contract.get("min_net_speech_s", 2.0))
        enrolling = policy.profile is Profile.ENROLMENT
        limits = VoiceQualityLimits.for_enrolment if enrolling else VoiceQualityLimits.for_probe
        meter = VoiceQualityMeter(limits(min_net_speech_s=least_s))
        vectors: list[NDArray[np.float32]] = []
        weights: list[float] = []
        heads: list[SpeechChunk] = []  # the recording's beginning, to be held against itself
        audio = open_audio(source)
        for block in audio:
            regions = self._locator.locate(block)
            meter.add(block, regions)
            pieces = chunks(block, regions, contract=self._contract)
            if pieces:
                vectors.extend(self._embedder.embed([piece.features for piece in pieces]))
                weights.extend(piece.net_speech_s for piece in pieces)
                heads = heads or list(pieces)
        quality = meter.result()
        heard = np.zeros(0, np.float32)  # the blocks have passed; what is left is the recording's name
        sample = Sample(Modality.VOICE, heard, source=audio.source, sha256=audio.sha256, facts=audio.facts)
        blocking = (
            quality.reasons if policy.gate else tuple(r for r in quality.reasons if r is Reason.NO_SPEECH)
        )
        if blocking or not vectors:
            reason = blocking[0] if blocking else Reason.NO_SPEECH
            return _failed(sample, reason, _quality_message(sample.source, quality), quality)
        stacked = np.stack(vectors)
        vector = average(stacked, weights)
        measures = dict(quality.measures) | {"chunk_agreement": agreement(stacked, vector)}
        quality = Quality(measures, quality.reasons)
        if enrolling:
            quality = self._held_against_itself(quality, heads)
            if policy.gate and not quality.ok:
                return _failed(sample, quality.reasons[0], _quality_message(sample.source, quality), quality)
        return _finished(sample, vector, self._embedder.model_id, quality, None)

    def _held_against_itself(self, quality: Quality, heads: Sequence[SpeechChunk]) -> Quality:
        """Refuse to enrol a recording of two speakers, whose template would be of neither.

        Up to 20 s of speech are compared in pieces of 2 s, longer recordings in their chunks. The limits
        were measured on CAM++ as published; others are not judged: those of other features, and those whose
        card says so in the input contract (trained and adapted encoders, whose cosines lie elsewhere).
        """
        from verify.voice.embed import DOUBTFUL_AGREEMENT, SEVERAL_SPEAKERS_BELOW, lowest_pair
        from verify.voice.normalise import short_pieces

        unjudged = self._contract.get("several_speakers") == NOT_JUDGED
        if unjudged or self._contract.get("features") != "kaldi-fbank":
            return quality
        if quality.measures["net_speech_s"] > _PIECES_UP_TO_S:
            doubtful = quality.measures["chunk_agreement"] < DOUBTFUL_AGREEMENT
            measures = dict(quality.measures)
        else:
            pieces = [piece for chunk in heads for piece in short_pieces(chunk.features)]
            lowest = lowest_pair(self._embedder.embed(pieces))
            doubtful = lowest < SEVERAL_SPEAKERS_BELOW
            measures = dict(quality.measures) | {"piece_agreement": lowest}
        return Quality(measures, (*quality.reasons, Reason.SEVERAL_SPEAKERS) if doubtful else quality.reasons)


def _finished(
    sample: Sample, vector: NDArray[np.float32], model_id: str, quality: Quality, region: FaceRegion | None
) -> Capture:
    return Capture(
        source=sample.source,
        sha256=sample.sha256,
        modality=sample.modality,
        template=Template(vector=vector, model_id=model_id, modality=sample.modality),
        quality=quality,
        region=region,
        facts=sample.facts,
    )


def _failed(
    sample: Sample,
    reason: Reason,
    message: str,
    quality: Quality | None = None,
    region: FaceRegion | None = None,
) -> Capture:
    return Capture(
        source=sample.source,
        sha256=sample.sha256,
        modality=sample.modality,
        quality=quality,
        failure=reason,
        message=message,
        region=region,
        facts=sample.facts,
    )


# The measure behind each failed check, for its message.
_MEASURED_BY = {
    Reason.FACE_TOO_SMALL: "face_size_px",
    Reason.FACE_CUT_OFF: "inside_frame",
    Reason.BLURRED: "sharpness",
    Reason.TOO_DARK: "brightness",
    Reason.TOO_BRIGHT: "brightness",
    Reason.LOW_CONTRAST: "contrast",
    Reason.TURNED_AWAY: "yaw_deg",
    Reason.UNCERTAIN_FACE: "detector_score",
    Reason.NO_SPEECH: "net_speech_s",
    Reason.TOO_LITTLE_SPEECH: "net_speech_s",
    Reason.CLIPPED: "clipped_share",
    Reason.NOISY: "snr_db",
    Reason.NARROW_BAND: "bandwidth_hz",
    Reason.SEVERAL_SPEAKERS: "piece_agreement",
}


def _quality_message(source: str, quality: Quality) -> str:
    failed = []
    for reason in quality.reasons:
        name = _MEASURED_BY.get(reason, "")
        measured = f" ({name} {quality.measures[name]:.3g})" if name in quality.measures else ""
        failed.append(f"{reason.value.replace('_', ' ')}{measured}")
    return f"{source}: {', '.join(failed)}; take another sample"


def ordered_map(one: Callable[[Any], Any], items: Iterable[Any], *, workers: int) -> Iterator[Any]:
    """Apply `one` on a pool of threads; yield results in order, with bounded look-ahead.

    Leaving the loop early (an error, Ctrl-C) cancels what has not started.
    """
    waiting: deque[Future[Any]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="verify-capture")
    try:
        for item in items:
            waiting.append(pool.submit(one, item))
            if len(waiting) >= 4 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def usable_cpus() -> int:
    """CPUs that this process may run on."""
    with suppress(AttributeError):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def source_name(source: Source) -> str:
    """What messages call a source: its path, or the kind of object it is."""
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    if isinstance(source, bytes):
        return "<bytes>"
    return str(getattr(source, "name", f"<{type(source).__name__}>"))


def guess_modality(source: str | os.PathLike[str]) -> Modality:
    """Face or voice, by the file's first bytes, then by its suffix; face when neither tells."""
    path = Path(source)
    head = b""
    with suppress(OSError):
        if path.is_file():  # a pipe would wait for ever
            with path.open("rb") as file:
                head = file.read(12)
    if head.startswith(_AUDIO_MAGIC) or (head[:4], head[8:12]) in _AUDIO_FORMS:
        return Modality.VOICE
    if head.startswith((b"\xff\xd8", b"\x89PNG", b"BM", b"II*\0", b"MM\0*")) or head[8:12] == b"WEBP":
        return Modality.FACE
    return Modality.VOICE if path.suffix.lower() in _AUDIO_SUFFIXES else Modality.FACE
