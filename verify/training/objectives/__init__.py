"""Objectives: what a network is trained for. `make_objective` makes one by name; see `registry.OBJECTIVES`."""

from verify.training.objectives.registry import OBJECTIVES, make_objective

__all__ = ["OBJECTIVES", "make_objective"]
