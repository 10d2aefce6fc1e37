"""Pin what pulling must give: build every model that can be fetched here, print its model_id and self-test.

    python tools/pin_models.py [--write] [NAME ...]

Pulls into a temporary folder without regard to the present pins. With --write, the answers go to
verify/models/selftest.json and the model_ids into verify/models/registry.toml. Run it after a change
of weights, contract or conversion, and say in the commit why the model changed: operating points
measured before do not hold any more.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

from verify.errors import ModelError
from verify.models import install, registry, selftest

PACKAGE = Path(selftest.__file__).parent
NOISE = {"low": 0.0, "high": 255.0}
INPUTS: dict[str, dict[str, dict[str, Any]]] = {
    "yunet": {"model.onnx": {"input": {"shape": [1, 3, 96, 128], **NOISE}}},
    "sface": {"model.onnx": {"input": {"shape": [1, 3, 112, 112], **NOISE}}},
    "silero-vad": {
        "model.onnx": {
            "input": {"shape": [6, 576], "low": -0.5, "high": 0.5},
            "h": {"shape": [1, 1, 128], "low": 0.0, "high": 0.0},
            "c": {"shape": [1, 1, 128], "low": 0.0, "high": 0.0},
        }
    },
    "campplus": {"model.onnx": {"features": {"shape": [1, 230, 80], "low": -4.0, "high": 4.0}}},
    "ge2e": {"model.onnx": {"features": {"shape": [1, 160, 40], "low": 0.0, "high": 1.0}}},
    "mtcnn": {
        "pnet.onnx": {"input": {"shape": [1, 3, 40, 56], "low": -1.0, "high": 1.0}},
        "rnet.onnx": {"input": {"shape": [1, 3, 24, 24], "low": -1.0, "high": 1.0}},
        "onet.onnx": {"input": {"shape": [1, 3, 48, 48], "low": -1.0, "high": 1.0}},
    },
    "dlib-resnet": {"model.onnx": {"input": {"shape": [1, 3, 150, 150], **NOISE}}},
}
INPUTS["sface-mtcnn"] = INPUTS["sface-mirror"] = INPUTS["sface"]


def pin(name: str, folder: Path) -> tuple[str, dict[str, Any]]:
    done = install.pull(name, models_dir=folder)[-1]
    pins = {}
    for file, inputs in INPUTS[name].items():
        found = selftest.answers(done.path / file, inputs)
        rounded = {output: [float(f"{value:.7g}") for value in values] for output, values in found.items()}
        pins[file] = {"inputs": inputs, "outputs": rounded}
    return done.model_id, pins


def write_model_id(text: str, name: str, model_id: str) -> str:
    table = re.compile(rf'(?ms)^name = "{re.escape(name)}"\n(?:model_id = "[0-9a-f]*"\n)?')
    return table.sub(f'name = "{name}"\nmodel_id = "{model_id}"\n', text, count=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(INPUTS))
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    unpinned = {name: replace(entry, model_id="") for name, entry in registry.entries().items()}
    text = (PACKAGE / "registry.toml").read_text()
    answers = (
        json.loads((PACKAGE / "selftest.json").read_text()) if (PACKAGE / "selftest.json").exists() else {}
    )
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(registry, "entries", return_value=unpinned),
        mock.patch.object(selftest, "_pins", dict),
    ):
        for name in asked.names:
            try:
                model_id, pins = pin(name, Path(folder))
            except ModelError as error:
                print(f"{name}: not pinned: {error}")
                continue
            print(f"{name}: {model_id}")
            text = write_model_id(text, name, model_id)
            if pins:
                answers[name] = pins
    if asked.write:
        (PACKAGE / "registry.toml").write_text(text)
        (PACKAGE / "selftest.json").write_text(json.dumps(answers, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
