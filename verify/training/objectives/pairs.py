"""What pair objectives share: the joint batch, the memory, and the check that there are mated pairs at all."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from verify.errors import UsageError
from verify.training.objectives.base import Objective, joint, unit, within
from verify.training.objectives.memory import Memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """The trials of a joint batch: anchors (rows) with candidates (columns).

    The candidates begin with the anchors themselves; what follows comes from the memory and has no gradient.

    Attributes:
        rows: (N, D) unit anchors, with gradients.
        columns: (M, D) unit candidates.
        row_labels: (N,) int64.
        column_labels: (M,) int64.
    """

    rows: Tensor
    columns: Tensor
    row_labels: Tensor
    column_labels: Tensor

    @property
    def mated(self) -> Tensor:
        """(N, M) bool: of one identity, the anchor's trial with itself among them."""
        return self.row_labels[:, None] == self.column_labels[None, :]

    @property
    def self_mated(self) -> Tensor:
        """(N, M) bool: the anchor itself."""
        own = torch.zeros(len(self.rows), len(self.columns), dtype=torch.bool, device=self.rows.device)
        own.fill_diagonal_(fill_value=True)
        return own


@dataclass(frozen=True, slots=True, kw_only=True)
class PairOptions:
    """What all pair objectives take.

    Attributes:
        memory: past embeddings that a batch is held against, too (cross-batch memory); 0: none.
    """

    memory: int = 0

    def __post_init__(self) -> None:
        within("memory", self.memory, least=0)


class PairObjective(Objective):
    """A loss of trials within the joint batch of all processes; subclasses write `loss_of`."""

    gathers = True

    def __init__(self, *, memory: int, dim: int) -> None:
        super().__init__()
        self.memory = Memory(memory, dim=dim) if memory else None
        self._seen = False

    def loss(self, raw: Tensor, labels: Tensor, target: Tensor | None) -> Tensor:
        """Gather, remember, and hold against each other."""
        del target
        rows, row_labels = joint(raw, labels)
        self.check(row_labels)
        rows = unit(rows)
        columns, column_labels = rows, row_labels
        if self.memory is not None:
            past, past_labels = self.memory.recall()
            columns, column_labels = torch.cat([rows, past]), torch.cat([row_labels, past_labels])
            if self.training and torch.is_grad_enabled():
                self.memory.remember(rows, row_labels)
        if len(columns) < 2:  # noqa: PLR2004  a last batch of one sample: no trial
            return rows.sum() * 0.0
        return self.loss_of(
            Pairs(rows=rows, columns=columns, row_labels=row_labels, column_labels=column_labels)
        )

    def loss_of(self, pairs: Pairs) -> Tensor:
        """The loss of the joint batch, a scalar."""
        raise NotImplementedError

    def check(self, labels: Tensor) -> None:
        """Refuse a first batch in which nobody occurs twice, or only one identity: it could teach nothing.

        Raises:
            UsageError: says which sampler gives such batches.
        """
        if self._seen:  # asked once: the answer has to be waited for on a GPU
            return
        self._seen = True
        count = len(labels.unique())
        if count == len(labels):
            msg = (
                f"no identity occurs twice in a batch of {len(labels)}: a pair objective needs mated pairs; "
                "set sampler.identities and sampler.samples (2 or more), or views = 2"
            )
            raise UsageError(msg)
        if count == 1 and self.memory is None:
            msg = f"all {len(labels)} samples of a batch are of one identity: set sampler.identities to 2 or more"
            raise UsageError(msg)
