"""The house: imports go downwards only, rooms on one floor keep apart, start-up stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "verify"
FLOORS = {
    "types": 0, "errors": 0, "protocols": 0, "score_space": 0, "facts": 0, "atomic": 0,
    "data": 1, "models": 1, "config": 1,
    "metrics": 2,
    "face": 3, "voice": 3, "nets": 3,
    "capture": 4, "gallery": 4,
    "engine": 5, "training": 5, "evaluation": 5,
    "report": 6,
    "server": 7,
    "cli": 8,
}  # fmt: skip
HEAVY = ("numpy", "scipy", "cv2", "onnx", "onnxruntime", "soundfile", "soxr", "torch", "rich", "sqlite3")
TORCH_ROOMS = {"nets", "training"}
FILES = sorted(PACKAGE.rglob("*.py"))


def room(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "verify" and len(parts) > 1 else None


def imports(path: Path, *, runtime_only: bool = False):
    """Every module imported anywhere in the file (with `runtime_only`, not those for type checkers)."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if runtime_only:
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.If)
                and isinstance(node.test, ast.Name)
                and node.test.id == "TYPE_CHECKING"
            ):
                node.body = [ast.Pass()]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_downwards_only(path: Path) -> None:
    here = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if here in ("__init__", "__main__"):
        return
    assert here in FLOORS, f"{here} has no floor in the house: see the room map"
    for module in imports(path):
        there = room(module)
        if there is None or there == here or there.startswith("__"):
            continue
        assert FLOORS[there] < FLOORS[here] or FLOORS[here] == 0, (
            f"{path.name} (floor {FLOORS[here]}) imports {module} (floor {FLOORS[there]})"
        )


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_torch_lives_in_nets_and_training_only(path: Path) -> None:
    if path.relative_to(PACKAGE).parts[0] in TORCH_ROOMS:
        return
    found = [
        module
        for module in imports(path)
        if module.split(".")[0] in ("torch", "torchaudio", "torchvision", "sklearn", "matplotlib")
    ]
    assert not found


def test_no_import_cycles_between_modules() -> None:
    graph: dict[str, set[str]] = {}
    names = {
        ".".join(("verify", *p.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): p
        for p in FILES
    }
    for name, path in names.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        wanted = set()
        for node in top:
            if isinstance(node, ast.ImportFrom) and node.module:
                wanted |= {
                    f"{node.module}.{a.name}" if f"{node.module}.{a.name}" in names else node.module
                    for a in node.names
                }
            elif isinstance(node, ast.Import):
                wanted |= {alias.name for alias in node.names}
        graph[name] = (wanted & names.keys()) - {name}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, f"cycle: {' -> '.join((*trail[trail.index(name) :], name))}"
        if name in done:
            return
        for other in sorted(graph[name]):
            visit(other, (*trail, name))
        done.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize(
    "statement",
    [
        "import verify",
        "import verify.types, verify.errors",
        "from verify.cli import cli; cli.main(['--help'], standalone_mode=False)",
    ],
)
def test_start_up_loads_nothing_heavy(statement: str) -> None:
    code = f"import sys\n{statement}\nprint([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stderr.strip() == "[]"


def test_only_the_command_line_prints_and_exits() -> None:
    for path in FILES:
        if path.is_relative_to(PACKAGE / "cli") or path.name == "__main__.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in ("print", "exit", "quit", "input"), f"{path}:{node.lineno}"
