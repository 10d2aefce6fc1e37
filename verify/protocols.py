"""The few seams of verify. Each has one contract test that every implementation runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import TracebackType
    from typing import Any, Self

    import numpy as np
    from numpy.typing import NDArray

    from verify.types import Candidate, Modality, Sample, Template, TemplateRecord

R_co = TypeVar("R_co", covariant=True)


@runtime_checkable
class Locator(Protocol[R_co]):
    """Finds the subject's regions (faces, speech) in a sample."""

    def locate(self, sample: Sample) -> tuple[R_co, ...]:
        """Regions, most prominent first; empty if there are none. Safe across threads."""
        ...


@runtime_checkable
class Embedder(Protocol):
    """Turns normalised inputs into templates' vectors."""

    @property
    def model_id(self) -> str:
        """sha256 over weights, preprocessing and post-processing."""
        ...

    @property
    def dim(self) -> int:
        """Embedding size D."""
        ...

    def embed(self, batch: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """(B, D) float32 of unit L2 norm, one row for each normalised input. Safe across threads."""
        ...


@runtime_checkable
class Objective(Protocol):
    """A training objective (loss) over one batch; implementations are torch modules.

    Attributes:
        gathers: whether samples of a batch are held against each other. Under several processes such an
            objective gathers the joint batch itself, with gradients.
        uses_target: whether it wants the averaged network's embeddings of the same inputs as `target`.
        views: 2 if it needs every sample twice, each with its own augmentation; else 1.
    """

    gathers: bool
    uses_target: bool
    views: int

    def advance(self, fraction: float) -> None:
        """Set how far margins have been ramped up, 0 to 1; called before each step."""
        ...

    def __call__(self, raw: Any, labels: Any, *, target: Any = None) -> Any:
        """The loss, a scalar tensor.

        Args:
            raw: (B, D) float embeddings before L2 normalisation, of this process.
            labels: (B,) int64 identity (or, for two views, sample) of each row.
            target: (B, D) embeddings of the averaged network, without gradient; None unless `uses_target`.
        """
        ...


@runtime_checkable
class Gallery(Protocol):
    """A store of references. All writes are durable when the call returns.

    Attributes:
        max_templates: cap of templates for a subject and model; `add` refuses what would pass it.
    """

    max_templates: int

    def add(
        self,
        subject_id: str,
        templates: Sequence[Template],
        *,
        records: Sequence[TemplateRecord],
        idempotency_key: str | None = None,
    ) -> tuple[TemplateRecord, ...]:
        """Store templates with their provenance in one transaction; return what is stored.

        A repeated `idempotency_key` for the same subject and sources returns the first call's
        records and writes nothing; for other content it raises `DuplicateSubjectError`.
        """
        ...

    def replay(self, idempotency_key: str) -> tuple[TemplateRecord, ...]:
        """Records written under this key; empty if the key is new."""
        ...

    def templates(self, subject_id: str, *, model_id: str) -> NDArray[np.float32]:
        """(T, D) float32: the subject's templates of this model; T may be 0."""
        ...

    def search(self, vector: NDArray[np.float32], *, model_id: str, top_k: int) -> tuple[Candidate, ...]:
        """The best `top_k` subjects by highest cosine over their templates, best first."""
        ...

    def records(self, subject_id: str | None = None) -> Iterable[TemplateRecord]:
        """Provenance of one subject's templates, or of all, by subject then template."""
        ...

    def subjects(self, *, model_id: str | None = None) -> tuple[str, ...]:
        """Subject ids in order, of all models or of one."""
        ...

    def count(self, *, model_id: str) -> int:
        """Number of subjects with at least one template of this model."""
        ...

    def model_ids(self, *, modality: Modality) -> tuple[str, ...]:
        """The models whose templates of this modality are stored."""
        ...

    def delete(self, subject_id: str) -> int:
        """Remove a subject, leaving no template bytes behind; return the number of templates."""
        ...

    def close(self) -> None:
        """Release connections and memory."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...
