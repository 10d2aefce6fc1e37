"""The card of a trained network: what it takes, from what it was made, what was measured, what is proven."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from verify.capture import NOT_JUDGED
from verify.models.assemble import file_facts
from verify.models.bundle import open_bundle
from verify.models.card import Card
from verify.models.identity import graph_content_hash, model_id
from verify.models.learnt_from import KEY, marks_of
from verify.training.agreement import SAME
from verify.training.ancestry import licence_of, own_marks, training_data_of
from verify.types import Modality

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import onnx

    from verify.training.agreement import Agreement
    from verify.training.trained import TrainedRun
    from verify.training.training_set import TrainingSet

MODEL_FILE = "model.onnx"
LOCATORS = {"arcface-112": "yunet", "dlib-chip": "yunet", "facenet-160": "mtcnn"}


def parity_facts(
    trained: TrainedRun, unseen: TrainingSet, same: Agreement, loss: Agreement | None, *, precision: str
) -> dict[str, Any]:
    """The card's proof: float32 graph against torch and, for a smaller one, that against the float32 graph."""
    import onnxruntime
    import torch

    facts: dict[str, Any] = {
        "origin": f"the same weights run by torch ({trained.network.name})",
        "torch": str(torch.__version__),
        "onnxruntime": onnxruntime.__version__,
        "part": "validation: people whom the network was not trained on",
        "data_sha256": unseen.data_sha256,
        "split_sha256": unseen.split_sha256,
        "limit": SAME.cosine,
        **same.on_card(),
    }
    if loss is not None:
        facts[precision] = {"origin": "the same network in float32", **loss.on_card()}
    return facts


def card_of(
    trained: TrainedRun,
    unseen: TrainingSet,
    graph: onnx.ModelProto,
    *,
    taught: TrainingSet,
    name: str,
    file: Path,
    parity: Mapping[str, Any],
    precision: str = "fp32",
    licence: str = "",
    description: str = "",
    models_dir: Path | None = None,
) -> Card:
    """The card of an exported network.

    Args:
        trained: the run.
        unseen: its validation part: the input contract and the locator that its data was prepared with.
        graph: the bundle's.
        taught: the run's training part: whom the network knows.
        name: of the bundle.
        file: where the graph was written.
        parity: see `parity_facts`.
        precision: of the graph.
        licence: of the weights; empty takes that of the weights which training began from.
        description: one line; empty makes one.
        models_dir: where the locator is looked up, if the data does not say which it was prepared with.

    Raises:
        ModelError: the locator is not known from the data and not on this machine.
    """
    contract = dict(unseen.contract)
    if trained.network.modality is Modality.VOICE:
        contract["several_speakers"] = NOT_JUDGED  # the limits were measured on another encoder's cosines
    locator = dict(unseen.locator) or _default_locator(contract, trained, models_dir=models_dir)
    content = {MODEL_FILE: graph_content_hash(graph)}
    postprocessing = {"l2_norm": "in-graph"}
    stated, licence_url, commercial = _licence(trained, licence)
    dim = int(getattr(trained.net, "dim", trained.network.dim))
    form = "" if precision == "fp32" else f", {precision}"
    return Card(
        name=name,
        task="embedder",
        modality=trained.network.modality,
        model_id=model_id(
            content=content,
            input_contract=contract,
            postprocessing=postprocessing,
            locator_id=locator["model_id"],
        ),
        dim=dim,
        input=contract,
        requires={"locator": locator},
        licence=stated,
        licence_url=licence_url,
        commercial_use=commercial,
        sources=(_source(trained, taught),),
        training_data=training_data_of(trained.state),
        files={MODEL_FILE: file_facts(file)},
        content=content,
        postprocessing=postprocessing,
        measured=_measured(trained),
        parity=parity,
        description=description
        or f"{trained.network.name} ({dim} numbers{form}), trained by the recipe {trained.recipe.name}",
    )


def _default_locator(
    contract: Mapping[str, Any], trained: TrainedRun, *, models_dir: Path | None
) -> dict[str, str]:
    is_face = trained.network.modality is Modality.FACE
    name = LOCATORS.get(str(contract.get("alignment")), "yunet") if is_face else "silero-vad"
    return {"name": name, "model_id": open_bundle(name, models_dir=models_dir).model_id}


def _licence(trained: TrainedRun, licence: str) -> tuple[str, str, bool]:
    """Licence, its address, and whether commercial use is allowed: fine-tuned weights stay under their first."""
    before, licence_url, commercial_use = licence_of(trained.state)
    return licence or before or "not stated", licence_url, commercial_use


def _source(trained: TrainedRun, taught: TrainingSet) -> dict[str, Any]:
    state = trained.state
    known = ("git_revision", "sets", "network", "verify", "torch")
    return {
        "kind": "training-run",
        "address": f"recipe {trained.recipe.name}",
        "sha256": trained.weights_sha256,
        "step": state["step"],
        "weights": trained.weights,
        **{key: state[key] for key in ("recipe_sha256", "data_sha256", "split_sha256")},
        **{key: state[key] for key in known if key in state},
        KEY: sorted(marks_of([state]) | own_marks(taught)),
    }


def _measured(trained: TrainedRun) -> dict[str, Any]:
    if not trained.validated:
        return {}
    return {
        "validation": {
            "what": "verification of the validation part's people by cosine, none of whom was trained on; the "
            "checkpoint may have been chosen by it",
            **trained.validated,
        }
    }
