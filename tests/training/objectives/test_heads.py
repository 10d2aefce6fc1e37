"""Class-centre objectives: against pytorch-metric-learning, against the papers' formulas, in blocks and shards."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from tests.training.objectives.made import Sizes  # noqa: E402
from verify.errors import UsageError  # noqa: E402
from verify.training.objectives import make_objective, margins, softmax  # noqa: E402
from verify.training.objectives.shards import part  # noqa: E402

pytestmark = pytest.mark.train
DIM, CLASSES, ROWS = 8, 7, 24


def drawn(seed=0, rows=ROWS):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, DIM, generator=generator), torch.randint(CLASSES, (rows,), generator=generator)


def gradients(loss, *leaves: torch.Tensor):
    return torch.autograd.grad(loss, leaves)


LIBRARY = {
    "arcface": ("ArcFaceLoss", {"margin": math.degrees(0.5), "scale": 64}, {"margin_rad": 0.5}),
    "cosface": ("CosFaceLoss", {"margin": 0.35, "scale": 64}, {"margin_cosine": 0.35}),
    "subcenter_arcface": (
        "SubCenterArcFaceLoss",
        {"margin": math.degrees(0.5), "scale": 64, "sub_centers": 3},
        {"margin_rad": 0.5, "centres": 3},
    ),
}


@pytest.mark.parametrize("name", LIBRARY)
def test_agrees_with_pytorch_metric_learning(name):
    from pytorch_metric_learning import losses

    kind, theirs, ours = LIBRARY[name]
    library = getattr(losses, kind)(num_classes=CLASSES, embedding_size=DIM, **theirs)
    head = make_objective(name, dim=DIM, identities=CLASSES, **ours)
    library.W.data = head.centres.data.t().clone()
    raw, labels = drawn()
    raw.requires_grad_()
    one, other = head(raw, labels), library(raw, labels)
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    mine, centres = gradients(one, raw, head.centres)
    its, columns = gradients(other, raw, library.W)
    torch.testing.assert_close(mine, its, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(
        centres, columns.t(), rtol=1e-4, atol=1e-3
    )  # centres of norm 0.03: slopes of 100


def test_adaface_is_the_papers_formula():
    head = make_objective("adaface", dim=DIM, identities=CLASSES, margin_rad=0.4, momentum=0.1)
    raw, labels = drawn()
    raw = (raw * torch.linspace(1, 30, ROWS)[:, None]).requires_grad_()
    loss = head(raw, labels)
    norms = raw.detach().norm(dim=1).clamp(1e-3, 100)
    mean, std = 0.9 * 20 + 0.1 * norms.mean(), 0.9 * 100 + 0.1 * norms.std()
    quality = ((norms - mean) / (std + 1e-3) * 0.333).clamp(-1, 1)
    cosines = torch.nn.functional.normalize(raw) @ torch.nn.functional.normalize(head.centres).t()
    target = torch.nn.functional.one_hot(labels, CLASSES).bool()
    angles = cosines.acos() - 0.4 * quality[:, None] * target
    logits = 64 * (angles.cos() - (0.4 + 0.4 * quality[:, None]) * target)
    plain = torch.nn.functional.cross_entropy(logits, labels)
    torch.testing.assert_close(loss, plain, rtol=1e-5, atol=1e-5)
    for mine, its in zip(
        gradients(loss, raw, head.centres), gradients(plain, raw, head.centres), strict=True
    ):
        torch.testing.assert_close(mine, its, rtol=1e-3, atol=1e-4)
    assert float(head.norm_mean) == pytest.approx(float(mean))
    assert float(head.norm_std) == pytest.approx(float(std))


@pytest.mark.parametrize("sub", [1, 3])
def test_the_slope_is_right_in_double_precision(sub):
    raw, labels = drawn(rows=6)
    rows = torch.nn.functional.normalize(raw.double()).requires_grad_()
    centres = torch.randn(CLASSES * sub, DIM, dtype=torch.float64, requires_grad=True)
    how = softmax.Softmax(
        scale=5.0, margin=lambda cosine, _: margins.add_angle(cosine, margin_rad=0.4), weight=0.3, sub=sub
    )
    for leaf, found in zip(
        (rows, centres),
        gradients(softmax.margin_softmax(rows, centres, labels, softmax=how), rows, centres),
        strict=True,
    ):
        with torch.no_grad():
            for place in range(leaf.numel()):
                ends = []
                for step in (1e-6, -1e-6):
                    leaf.view(-1)[place] += step
                    ends.append(float(softmax.margin_softmax(rows, centres, labels, softmax=how)))
                    leaf.view(-1)[place] -= step
                assert float(found.view(-1)[place]) == pytest.approx((ends[0] - ends[1]) / 2e-6, abs=1e-6)


@pytest.mark.parametrize("sub", [1, 2])
@pytest.mark.parametrize("buffer", [1, CLASSES * 5, 10**6])
def test_blocks_change_nothing(buffer, sub, monkeypatch):
    """A buffer for one row, for some, and for all."""
    raw, labels = drawn()
    head = make_objective("subcenter_arcface", dim=DIM, identities=CLASSES, centres=sub)
    raw.requires_grad_()
    whole = head(raw, labels)
    expected = gradients(whole, raw, head.centres)
    monkeypatch.setattr(softmax, "BUFFER", {"cpu": buffer})
    monkeypatch.setattr(softmax, "COLUMNS", 2)
    blocks = head(raw, labels)
    torch.testing.assert_close(blocks, whole)
    for found, wanted in zip(gradients(blocks, raw, head.centres), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-4)


def test_holds_one_block_of_logits(monkeypatch):
    """Nothing is ever larger than the block or the gradient of the centres, far from (B, C)."""
    rows, classes = 512, 5_000
    head = make_objective("arcface", dim=DIM, identities=classes)
    monkeypatch.setattr(softmax, "BUFFER", {"cpu": 32 * classes})
    raw, _ = drawn(rows=rows)
    raw.requires_grad_()
    with Sizes() as sizes:
        head(raw, torch.arange(rows)).backward()
    assert sizes.largest <= 32 * classes


def test_a_gradient_is_taken_once():
    head = make_objective("arcface", dim=DIM, identities=CLASSES)
    raw, labels = drawn()
    loss = head(raw, labels)
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="only once"):
        loss.backward()


def test_a_weight_scales_the_gradient():
    head = make_objective("arcface", dim=DIM, identities=CLASSES)
    raw, labels = drawn()
    (one,) = gradients(head(raw, labels), head.centres)
    (two,) = gradients(0.25 * head(raw, labels), head.centres)
    torch.testing.assert_close(two, 0.25 * one)


def test_frozen_centres_have_no_gradient():
    head = make_objective("arcface", dim=DIM, identities=CLASSES)
    head.centres.requires_grad_(requires_grad=False)
    raw, labels = drawn()
    raw.requires_grad_()
    head(raw, labels).backward()
    assert raw.grad is not None
    assert head.centres.grad is None


angles = st.floats(0, math.pi)


@given(angles, angles, st.floats(0, math.pi / 2))
def test_an_added_angle_never_helps_and_never_turns_back(one, other, margin):
    near, far = sorted((one, other))
    cosines = torch.tensor([near, far], dtype=torch.float64).cos()
    moved = margins.add_angle(cosines, margin_rad=margin)
    assert (moved <= cosines + 1e-5).all()
    assert moved[0] >= moved[1] - 1e-9
    if far + margin <= math.pi:
        assert float(moved[1]) == pytest.approx(math.cos(far + margin), abs=2e-3)


@given(angles, angles, st.floats(-1, 1), st.floats(0, math.pi / 2))
@settings(max_examples=50)
def test_an_adaptive_margin_never_turns_back(one, other, quality, margin):
    near, far = sorted((one, other))
    cosines = torch.tensor([near, far], dtype=torch.float64).cos()
    moved = margins.adapt(cosines, quality=torch.full((2,), quality, dtype=torch.float64), margin_rad=margin)
    assert moved[0] >= moved[1] - 1e-9


def test_the_ramp_scales_the_margin():
    head = make_objective("arcface", dim=DIM, identities=CLASSES, margin_rad=0.4)
    half = make_objective("arcface", dim=DIM, identities=CLASSES, margin_rad=0.2)
    half.load_state_dict(head.state_dict())
    head.advance(0.5)
    assert torch.equal(head(*drawn()), half(*drawn()))


def test_the_large_margin_stage_replaces_the_margin():
    head = make_objective("arcface", dim=DIM, identities=CLASSES, margin_rad=0.2)
    before = head(*drawn())
    head.margin_rad = 0.5
    assert head.margin_rad == 0.5
    assert head(*drawn()) > before
    with pytest.raises(UsageError, match="degrees"):
        head.margin_rad = 20.0
    for name in ("triplet", "siamese", "cosface"):  # theirs mean something else
        assert not hasattr(make_objective(name, dim=DIM, identities=CLASSES), "margin_rad")


def test_nearest_of_several_centres_counts():
    head = make_objective("subcenter_arcface", dim=DIM, identities=CLASSES, centres=3)
    raw, labels = drawn(rows=1)
    head(raw, labels).backward()
    touched = (head.centres.grad.norm(dim=1) > 0).view(CLASSES, 3).sum(dim=1)
    assert touched.tolist() == [1] * CLASSES


def test_drawn_classes_hold_the_batchs_own():
    head = make_objective("arcface", dim=DIM, identities=1000, sharded=True, sample_rate=0.05, seed=4)
    raw, labels = torch.randn(16, DIM), torch.arange(16) * 60
    head(raw, labels).backward()
    touched = head.centres.grad.norm(dim=1) > 0
    assert int(touched.sum()) == 50
    assert touched[labels].all()
    first = touched.clone()
    head.zero_grad()
    head(raw, labels).backward()
    assert not torch.equal(first, head.centres.grad.norm(dim=1) > 0)  # drawn anew


def test_more_own_classes_than_the_rate_allows():
    head = make_objective("arcface", dim=DIM, identities=100, sharded=True, sample_rate=0.05)
    loss = head(torch.randn(40, DIM), torch.arange(40))
    assert torch.isfinite(loss)


def test_validation_draws_nothing():
    head = make_objective("arcface", dim=DIM, identities=100, sharded=True, sample_rate=0.05).eval()
    raw, labels = torch.randn(4, DIM), torch.arange(4)
    assert torch.equal(head(raw, labels), head(raw, labels))


def test_labels_that_are_no_class():
    head = make_objective("arcface", dim=DIM, identities=CLASSES)
    for wrong in (CLASSES, -1):
        with pytest.raises(UsageError, match="must be from 0 to 6"):
            head(torch.randn(2, DIM), torch.tensor([0, wrong]))


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("arcface", {"margin_rad": 28.6}, "28.6 degrees are 0.499"),
        ("arcface", {"margin_rad": -0.1}, "must be in radians, 0 to 1.571"),
        ("arcface", {"margin_rad": 2.0}, "must be in radians"),
        ("arcface", {"scale": 0.5}, "scale = 0.5"),
        ("arcface", {"sample_rate": 0.1}, "sharded = true"),
        ("arcface", {"sample_rate": 0.0, "sharded": True}, "sample_rate = 0"),
        ("subcenter_arcface", {"centres": 0}, "centres = 0"),
        ("cosface", {"margin_cosine": 20}, "margin_cosine = 20"),
        ("cosface", {"margin_rad": 0.3}, "no key 'margin_rad'"),
        ("adaface", {"margin_rad": 40.0}, "40 degrees are 0.698"),
        ("adaface", {"momentum": 2.0}, "momentum = 2"),
    ],
)
def test_values_out_of_range(name, options, said):
    with pytest.raises(UsageError, match=said) as caught:
        make_objective(name, dim=DIM, identities=CLASSES, **options)
    assert f"objective {name!r}" in str(caught.value)


def test_one_identity_is_none():
    with pytest.raises(UsageError, match="identities = 1: telling apart takes at least two"):
        make_objective("arcface", dim=DIM, identities=1)


@given(st.integers(1, 500), st.integers(1, 17))
def test_parts_cover_all_classes_once(total, size):
    parts = [part(total, rank=rank, size=size) for rank in range(size)]
    assert [number for one in parts for number in one] == list(range(total))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_shards_differ_and_what_stands_beside_them_does_not(monkeypatch):
    """One seed in all processes: other classes have other centres, and a predictor is one network."""
    from verify.training import distributed
    from verify.training.parts import Objectives
    from verify.training.recipe import ObjectiveSection

    sections = (
        ObjectiveSection(name="arcface", options={"sharded": True}),
        ObjectiveSection(name="simsiam"),
    )
    monkeypatch.setattr(distributed, "size", lambda: 2)
    found = []
    for rank in range(2):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        torch.manual_seed(3)
        found.append(Objectives(sections, dim=DIM, identities=9, modality="face"))
    one, other = found
    assert [len(part.terms[0].centres) for part in found] == [5, 4]
    assert not torch.equal(one.terms[0].centres[:4], other.terms[0].centres)
    for mine, its in zip(one.replicated(), other.replicated(), strict=True):
        assert torch.equal(mine, its)


@pytest.mark.parametrize("name", ["arcface", "adaface", "cosface", "subcenter_arcface"])
def test_samples_upon_their_centre_and_opposite_to_it_do_no_harm(name):
    """The arc cosine has no slope there, and float32 passes 1 by a digit."""
    head = make_objective(name, dim=DIM, identities=4)
    sub = head.centres.shape[0] // 4
    raw = torch.cat([head.centres.detach()[::sub], -head.centres.detach()[::sub]]) * 3.7
    raw = torch.cat([raw * (1 + 1e-7 * n) for n in range(8)]).requires_grad_()
    loss = head(raw, torch.arange(len(raw)) % 4)
    assert loss.isfinite()
    assert all(grad.isfinite().all() for grad in gradients(loss, raw, head.centres))


def test_a_dry_run_knows_of_the_block_of_logits():
    head = make_objective("arcface", dim=DIM, identities=1000)
    assert head.working_bytes(20) == 4 * 20 * 1000
    assert head.working_bytes(10**6) == 4 * 2**26
