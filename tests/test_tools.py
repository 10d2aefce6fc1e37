"""What the tools take from verify is there: they are run by hand, and would rot unseen."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TOOLS = sorted((ROOT / "tools").rglob("*.py"))


@pytest.mark.parametrize("path", TOOLS, ids=lambda p: str(p.relative_to(ROOT)))
def test_names_taken_from_verify_are_there(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if not (isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "verify"):
            continue
        module = (
            pytest.importorskip(node.module)
            if any(room in node.module for room in ("nets", "training"))
            else importlib.import_module(node.module)
        )
        for alias in node.names:
            if not hasattr(module, alias.name):
                importlib.import_module(f"{node.module}.{alias.name}")


def test_there_are_tools() -> None:
    assert len(TOOLS) > 10
