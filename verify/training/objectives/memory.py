"""Cross-batch memory: embeddings of past batches as further candidates of a pair loss.

Wang, Zhang, Huang, Scott, "Cross-Batch Memory for Embedding Learning", CVPR 2020, https://arxiv.org/abs/1912.06798.
Features drift slowly once a network has settled, so that a batch can be held against many past ones for the price of
a matrix product.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Memory(nn.Module):
    """A ring of the last `size` embeddings and their labels, part of the objective's state.

    The rows of all processes go in, in rank order, so that every process holds the same.

    Args:
        size: rows, at least 1.
        dim: of an embedding.
    """

    rows: Tensor
    labels: Tensor

    def __init__(self, size: int, *, dim: int) -> None:
        super().__init__()
        self.size, self.next, self.filled = size, 0, 0
        self.register_buffer("rows", torch.zeros(size, dim))
        self.register_buffer("labels", torch.full((size,), -1, dtype=torch.int64))

    def recall(self) -> tuple[Tensor, Tensor]:
        """(M, D) embeddings and (M,) labels that are remembered: views, which `remember` will write to."""
        return self.rows[: self.filled], self.labels[: self.filled]

    @torch.no_grad()
    def remember(self, rows: Tensor, labels: Tensor) -> None:
        """Put (N, D) unit embeddings in the place of the oldest."""
        if not len(rows):
            return
        rows, labels = rows.detach()[-self.size :], labels[-self.size :]
        place = (torch.arange(len(rows), device=rows.device) + self.next) % self.size
        self.rows[place] = rows
        self.labels[place] = labels
        self.next = (self.next + len(rows)) % self.size
        self.filled = min(self.size, self.filled + len(rows))

    def get_extra_state(self) -> Tensor:
        """Where the ring stands."""
        return torch.tensor([self.next, self.filled])

    def set_extra_state(self, state: Tensor) -> None:
        """Take what `get_extra_state` gave."""
        self.next, self.filled = (int(value) for value in state)
