"""From a run to a bundle: the encoder alone, its card, and the proof that it decides as the trained network.

Heads stay behind, the L2 norm is in the graph. What was measured while training is on the card with the hashes
of recipe, data and split. Thresholds are not: `verify calibrate` makes them, on people that this
network has not seen either.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from verify.data.splits import TRAIN, VALIDATION
from verify.errors import ModelIntegrityError, UsageError
from verify.models.bundle import open_bundle
from verify.models.card import CARD_FILE, NAME_PATTERN
from verify.models.local_files import is_bundle
from verify.models.registry import entries
from verify.models.shelf import new_folder, put_in_place, scratch_folder, write_plain
from verify.training.agreement import HALF, INTEGER, SAME, Agreement, agreement
from verify.training.graph import to_graph
from verify.training.proof_samples import ProofSamples, embedded_by_graph, embedded_by_torch
from verify.training.quantise import half, integer
from verify.training.run_card import MODEL_FILE, card_of, parity_facts
from verify.training.trained import TrainedRun, open_run
from verify.training.training_set import open_training

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import onnx

    from verify.training.recipe import SetSection
    from verify.training.training_set import TrainingSet

PRECISIONS = ("fp32", "fp16", "int8")
RANGE_SAMPLES = 128  # whose activations set the ranges of int8


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """What an export is asked to make.

    Attributes:
        name: of the bundle; empty takes the target folder's.
        checkpoint: ``best``, ``last`` or a step's name.
        precision: ``fp32``; ``fp16``, weights stored in half precision; ``int8``, computed in integers.
        sets: prepared sets and splits that the run was trained on, if they lie elsewhere now.
        ranges_from: prepared set whose samples set the ranges of int8; None takes the training part.
        samples: of the validation part that the proof is made on.
        allow_loss: export although fp16 or int8 decides differently beyond the limit.
        licence: of the weights; empty takes that of the weights which training began from.
        description: one line for `verify models list`; empty makes one.
        force: replace a bundle that is there.
    """

    name: str = ""
    checkpoint: str = "best"
    precision: str = "fp32"
    sets: tuple[SetSection, ...] = ()
    ranges_from: Path | None = None
    samples: int = 1000
    allow_loss: bool = False
    licence: str = ""
    description: str = ""
    force: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What an export made.

    Attributes:
        path: the bundle.
        status: ``installed``, ``replaced`` or ``present``.
        size: of the graph, in bytes.
        agreement: of the float32 graph with the network in torch.
        loss: of the smaller graph with the float32 one; None for fp32.
        beyond: what in it goes beyond the limits, in words; empty if nothing does.
        measured: validation of the exported weights while they were trained.
        splits: of the run's data: who may calibrate it.
    """

    path: Path
    name: str
    model_id: str
    status: str
    precision: str
    size: int
    agreement: Agreement
    loss: Agreement | None
    beyond: tuple[str, ...]
    measured: Mapping[str, Any]
    splits: tuple[str, ...] = ()


def export_run(
    run: Path, target: Path, *, options: ExportOptions | None = None, models_dir: Path | None = None
) -> Exported:
    """Make a bundle of a run's checkpoint.

    Args:
        run: folder of the run, or of one checkpoint.
        target: folder that becomes the bundle.
        options: what to make.
        models_dir: where the locator is looked up, if the data does not say which it was prepared with.

    Raises:
        UsageError: no such run or checkpoint, a name that a bundle cannot have, a place that is taken, or
            data of another hash than what the run was trained on.
        DataError: the data cannot be read, or has no pair to prove the export on.
        ModelIntegrityError: graph and network disagree, or the loss of fp16 or int8 is beyond its limit;
            nothing is written then.
        StorageError: the folder cannot be written; nothing is left half.
    """
    options = options or ExportOptions()
    if options.precision not in PRECISIONS:
        msg = f"precision must be one of {', '.join(PRECISIONS)}, not {options.precision!r}"
        raise UsageError(msg)
    _check_place(target, force=options.force)
    trained = open_run(run, checkpoint=options.checkpoint)
    name = _name(options.name or target.name)
    sections = options.sets or trained.recipe.data.sets
    unseen = _same_data(open_training(sections, part=VALIDATION), trained)
    proof = ProofSamples.choose(unseen, trained.recipe, most=options.samples)

    graph = to_graph(trained.net, network=trained.network.name)
    wanted = embedded_by_torch(trained.net, proof)
    found = embedded_by_graph(graph, proof)
    same = agreement(wanted, found, proof.labels)
    if differing := same.beyond(SAME):
        msg = (
            f"{trained.checkpoint}: the graph does not compute what the network in torch does: {'; '.join(differing)}; "
            "nothing was written: this is a fault in verify, or in a network of another distribution"
        )
        raise ModelIntegrityError(msg)
    loss: Agreement | None = None
    beyond: tuple[str, ...] = ()
    if options.precision != "fp32":
        graph = _smaller(graph, unseen, trained, options)
        loss = agreement(found, embedded_by_graph(graph, proof), proof.labels)
        beyond = tuple(loss.beyond(HALF if options.precision == "fp16" else INTEGER))
        if beyond and not options.allow_loss:
            msg = (
                f"in {options.precision} the model decides differently: {'; '.join(beyond)}; nothing was written. "
                "Export it in float32, bring more samples like those in use (--calibration-data), or accept it with "
                "--allow-loss"
            )
            raise ModelIntegrityError(msg)
    parity = parity_facts(trained, unseen, same, loss, precision=options.precision)
    with scratch_folder(target.absolute().parent) as scratch:
        built = new_folder(scratch / name)
        write_plain(built / MODEL_FILE, graph.SerializeToString(deterministic=True))
        card = card_of(
            trained,
            unseen,
            graph,
            taught=_taught(sections, trained),
            name=name,
            file=built / MODEL_FILE,
            parity=parity,
            precision=options.precision,
            licence=options.licence,
            description=options.description,
            models_dir=models_dir,
        )
        text = json.dumps(card.to_json(), indent=2, ensure_ascii=False, allow_nan=False)
        write_plain(built / CARD_FILE, text.encode() + b"\n")
        open_bundle(built, models_dir=models_dir).session()  # as whoever uses it will
        size = (built / MODEL_FILE).stat().st_size
        status = put_in_place(built, target.absolute())
    return Exported(
        path=target,
        name=name,
        model_id=card.model_id,
        status=status,
        precision=options.precision,
        size=size,
        agreement=same,
        loss=loss,
        beyond=beyond,
        measured=dict(trained.validated),
        splits=tuple(section.split for section in sections),
    )


def _check_place(target: Path, *, force: bool) -> None:
    if not target.exists():
        return
    if not is_bundle(target) or not target.is_dir():
        msg = f"-o {target}: is there and is no bundle's folder; name a folder that is not there yet"
        raise UsageError(msg)
    if not force:
        msg = f"-o {target}: holds a bundle already; name another folder, or replace it with --force"
        raise UsageError(msg)


def _name(name: str) -> str:
    if not NAME_PATTERN.fullmatch(name) or name in entries():
        near = re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-._")
        hint = f", for example {near}" if near and near != name and NAME_PATTERN.fullmatch(near) else ""
        msg = (
            f"a bundle cannot be called {name[:80]!r}: give --as a name of lower-case letters, digits and . _ - that "
            f"no known model has{hint}"
        )
        raise UsageError(msg)
    return name


def _same_data(unseen: TrainingSet, trained: TrainedRun) -> TrainingSet:
    """Refuse other data: its validation part may hold people whom this network was trained on."""
    for key, value in (("data_sha256", unseen.data_sha256), ("split_sha256", unseen.split_sha256)):
        if trained.state[key] != value:
            what = "prepared data" if key == "data_sha256" else "split"
            msg = (
                f"the {what} ({value[:12]}) is not what {trained.checkpoint} was trained with "
                f"({trained.state[key][:12]}): its validation part may hold people whom the network has seen. Name the "
                "data and splits of the training with --data and --split"
            )
            raise UsageError(msg)
    return unseen


def _taught(sections: Sequence[SetSection], trained: TrainedRun) -> TrainingSet:
    data = trained.recipe.data
    return open_training(
        sections, part=TRAIN, min_samples=data.min_samples, max_identities=data.max_identities
    )


def _smaller(
    graph: onnx.ModelProto, unseen: TrainingSet, trained: TrainedRun, options: ExportOptions
) -> onnx.ModelProto:
    if options.precision == "fp16":
        return half(graph)
    if options.ranges_from is None:
        sections = options.sets or trained.recipe.data.sets
        samples = ProofSamples.of_training(
            open_training(sections, part=TRAIN), trained.recipe, most=RANGE_SAMPLES
        )
    else:
        samples = ProofSamples.of_prepared(
            options.ranges_from, like=unseen, recipe=trained.recipe, most=RANGE_SAMPLES
        )
    return integer(graph, samples.one_by_one(), modality=trained.network.modality)
