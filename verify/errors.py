"""The one exception tree.

Every error that verify raises on purpose derives from `VerifyError`, names the file or value at
fault and the way out, and carries the exit code that the command line ends with. Errors of other
libraries are mapped to this tree where they are first seen.

Exit codes: 0 accept or success, 1 reject, 2 usage, 3 no decision, 4 bad data, 5 model or
environment, 70 unexpected.

- VerifyError (70)
  - UsageError (2)
  - NoDecisionError (3)
  - DataError (4)
    - MediaError, ManifestError, ScoreError, InsufficientTrialsError, FactsError
    - GalleryError: UnknownSubjectError, DuplicateSubjectError, EnrolmentRefusedError
  - EnvironmentProblemError (5)
    - ModelError: UnknownModelError, ModelNotInstalledError, ModelIntegrityError, ModelMismatchError,
      DownloadError
    - MissingExtraError, StorageError, TrainingError
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from verify.types import Reason


class VerifyError(Exception):
    """Root of all errors that verify raises on purpose."""

    exit_code: ClassVar[int] = 70


class UsageError(VerifyError):
    """The call itself is wrong: an unknown name, options that contradict each other."""

    exit_code: ClassVar[int] = 2


class NoDecisionError(VerifyError):
    """A capture or comparison may not be decided; `reason` says why. Never an accept."""

    exit_code: ClassVar[int] = 3

    def __init__(self, message: str, *, reason: Reason) -> None:
        super().__init__(message)
        self.reason = reason


class DataError(VerifyError):
    """The input data is unusable."""

    exit_code: ClassVar[int] = 4


class MediaError(DataError):
    """A photo or recording cannot be read: missing, truncated, over the limits, not that format."""

    def __init__(self, message: str, *, reason: Reason) -> None:
        super().__init__(message)
        self.reason = reason


class ManifestError(DataError):
    """A manifest, folder tree or trial list is malformed; the message names the line."""


class ScoreError(DataError, ValueError):
    """Scores are NaN, infinite, empty or of one class where two are needed."""


class InsufficientTrialsError(DataError):
    """The data cannot support the target rate; the message says how much data would."""


class FactsError(DataError):
    """The facts of a report are malformed; the message names the field."""


class GalleryError(DataError):
    """The gallery cannot be used as asked: corrupt, of a future version, not a gallery."""


class UnknownSubjectError(GalleryError):
    """The claimed subject has no reference in this gallery."""


class DuplicateSubjectError(GalleryError):
    """The subject is enrolled already, or the same idempotency key came with other content."""


class EnrolmentRefusedError(GalleryError):
    """The enrolment checks refused this template; `reason` says which one."""

    def __init__(self, message: str, *, reason: Reason) -> None:
        super().__init__(message)
        self.reason = reason


class EnvironmentProblemError(VerifyError):
    """The model or the machine is not fit: missing weights, missing extra, read-only disk."""

    exit_code: ClassVar[int] = 5


class ModelError(EnvironmentProblemError):
    """A model bundle cannot be used."""


class UnknownModelError(ModelError):
    """No model of this name; the message lists the known ones."""


class ModelNotInstalledError(ModelError):
    """The model is known but not on this machine; the message says how to bring it."""


class ModelIntegrityError(ModelError):
    """A bundle's file differs from its recorded hash, or its card is malformed."""


class ModelMismatchError(ModelError):
    """Templates or operating points of another model_id."""


class DownloadError(ModelError):
    """No source of a model could be fetched; the message lists each source and its failure."""


class MissingExtraError(EnvironmentProblemError):
    """An optional dependency is not installed; the message says which extra brings it."""


class StorageError(EnvironmentProblemError):
    """The disk is full, read-only or failing; nothing that was acknowledged is lost."""


class TrainingError(EnvironmentProblemError):
    """A training run cannot go on: a loss that is not finite, or too little memory; the message says what to do."""
