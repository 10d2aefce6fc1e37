"""What every Objective promises: the loop knows no more than this about any of them."""

from __future__ import annotations

import copy

import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")

from tests.training.objectives.made import CLASSES, DIM, ROWS, VARIANTS, batch, make, target_of  # noqa: E402
from verify.errors import UsageError  # noqa: E402
from verify.protocols import Objective  # noqa: E402
from verify.training.objectives import OBJECTIVES, make_objective  # noqa: E402
from verify.training.recipe import ObjectiveSection  # noqa: E402

pytestmark = pytest.mark.train
STOPS_GRADIENTS = {"SimSiam", "Borrowed"}  # circle loss: its weights are constants to its gradient
BY_NORM = {"adaface", "adaface_sharded", "byol", "simsiam", "vicreg", "vicreg_expanded"}


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=list(VARIANTS))
def variant(request):
    return request.param


@pytest.fixture
def objective(variant):
    return make(variant)


def loss_of(objective, inputs, labels):
    return objective(inputs, labels, **target_of(objective, inputs.detach()))


def value_of(objective, inputs, labels):
    with torch.no_grad():
        return float(loss_of(objective, inputs, labels))


def test_every_built_in_is_under_contract():
    assert {name for name, _ in VARIANTS.values()} == set(OBJECTIVES)


def test_is_an_objective(objective):
    assert isinstance(objective, Objective)
    assert isinstance(objective, torch.nn.Module)
    assert objective.views in (1, 2)
    assert isinstance(objective.gathers, bool)
    assert isinstance(objective.uses_target, bool)


def test_is_made_of_a_section_too(variant):
    name, options = VARIANTS[variant]
    torch.manual_seed(0)
    made = make_objective(ObjectiveSection(name=name, options=options), dim=DIM, identities=CLASSES)
    inputs, labels = batch(made)
    assert torch.equal(loss_of(made, inputs, labels), loss_of(make(variant), inputs, labels))


def test_gives_a_finite_scalar_and_a_gradient_to_every_row(objective):
    inputs, labels = batch(objective)
    raw = inputs.clone().requires_grad_()
    loss = loss_of(objective, raw, labels)
    loss.backward()
    assert loss.shape == ()
    assert loss.dtype == torch.float32
    assert torch.isfinite(loss)
    assert torch.isfinite(raw.grad).all()
    assert (raw.grad.norm(dim=1) > 0).float().mean() > 0.5
    for parameter in objective.parameters():
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()


def test_the_gradient_is_the_slope(objective):
    inputs, labels = batch(objective)
    objective.eval()  # no memory, no running statistics between the three calls
    raw = inputs.clone().requires_grad_()
    loss_of(objective, raw, labels).backward()
    direction = raw.grad / raw.grad.norm()
    step = 1e-2 if "triplet" not in type(objective).__name__.lower() else 1e-3
    target = target_of(objective, inputs)
    with torch.no_grad():
        ahead = objective(inputs + step * direction, labels, **target)
        behind = objective(inputs - step * direction, labels, **target)
    slope = float(ahead - behind) / (2 * step)
    if type(objective).__name__ in STOPS_GRADIENTS:
        assert slope > 0
    else:
        assert slope == pytest.approx(float(raw.grad.norm()), rel=0.06)


def test_does_not_care_in_which_order_samples_stand(objective):
    inputs, labels = batch(objective)
    half = torch.randperm(ROWS // 2, generator=torch.Generator().manual_seed(3))
    order = torch.cat([half, half + ROWS // 2])  # of two views the first stays the first
    one, other = value_of(objective, inputs, labels), value_of(objective, inputs[order], labels[order])
    assert one == pytest.approx(other, rel=1e-4)


def test_does_not_care_about_norms_unless_they_mean_something(objective, variant):
    inputs, labels = batch(objective)
    target = target_of(objective, inputs)
    with torch.no_grad():
        one, other = objective(inputs, labels, **target), objective(inputs * 5, labels, **target)
    assert float(one) == pytest.approx(float(other), rel=1e-4) or variant in BY_NORM


def test_computes_in_full_precision_under_autocast(objective):
    inputs, labels = batch(objective)
    inputs = inputs.bfloat16().float()
    plain = value_of(objective, inputs, labels)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        mixed = objective(inputs.bfloat16(), labels, **target_of(objective, inputs))
    assert mixed.dtype == torch.float32
    assert float(mixed) == pytest.approx(plain, rel=1e-5)


def test_advance_takes_shares_only(objective):
    objective.advance(0.0)
    objective.advance(0.5)
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(UsageError, match="fraction"):
            objective.advance(wrong)


def test_a_margin_makes_it_harder(objective):
    inputs, labels = batch(objective)
    hard = value_of(objective, inputs, labels)
    objective.advance(0.0)
    assert value_of(objective, inputs, labels) <= hard + 1e-6


def test_resumes_where_it_was(objective, variant):
    for step in range(2):
        inputs, labels = batch(objective, step=step)
        loss_of(objective, inputs, labels)
    state = {key: value.clone() for key, value in objective.state_dict().items()}
    assert all(isinstance(value, torch.Tensor) for value in state.values())
    resumed = make(variant, seed=9)
    resumed.load_state_dict(state)
    for step in range(2, 5):
        inputs, labels = batch(objective, step=step)
        assert torch.equal(loss_of(objective, inputs, labels), loss_of(resumed, inputs, labels))


def test_its_state_goes_through_safetensors(objective, tmp_path):
    from safetensors.torch import load_file, save_file

    save_file(objective.state_dict(), tmp_path / "objective.safetensors")
    objective.load_state_dict(load_file(tmp_path / "objective.safetensors"))


def test_looking_changes_nothing(objective):
    before = {key: value.clone() for key, value in objective.state_dict().items()}
    objective.eval()
    inputs, labels = batch(objective)
    with torch.no_grad():
        loss_of(objective, inputs, labels)
    after = objective.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_teaches(objective):
    """A linear map of noisy clusters: mated pairs come closer relative to the others."""
    torch.manual_seed(1)
    wide = 16
    centres, net = torch.randn(CLASSES, wide), torch.nn.Linear(wide, DIM, bias=False)
    averaged = copy.deepcopy(net)
    noise = torch.diag(torch.cat([torch.full((wide // 2,), 3.0), torch.full((wide // 2,), 0.2)]))

    def draw():
        labels = torch.arange(ROWS) % CLASSES
        one = centres[labels] + torch.randn(ROWS, wide) @ noise
        if objective.views == 1:
            return one, labels
        other = centres[labels] + torch.randn(ROWS, wide) @ noise
        return torch.cat([one[:CLASSES], other[:CLASSES]]), torch.arange(2 * CLASSES) % CLASSES

    def gap():
        with torch.no_grad():
            labels = torch.arange(120) % CLASSES
            drawn = centres[labels] + torch.randn(120, wide) @ noise
            unit = torch.nn.functional.normalize(net(drawn))
            cosines, same = unit @ unit.t(), labels[:, None] == labels[None]
            return float(cosines[same].mean() - cosines[~same].mean())

    before = gap()
    optimiser = torch.optim.Adam([*net.parameters(), *objective.parameters()], lr=0.01)
    for _ in range(80):
        inputs, labels = draw()
        target = {"target": averaged(inputs).detach()} if objective.uses_target else {}
        optimiser.zero_grad()
        objective(net(inputs), labels, **target).backward()
        optimiser.step()
        for kept, new in zip(averaged.parameters(), net.parameters(), strict=True):
            kept.data.lerp_(new.data, 0.1)
    assert gap() > before + 0.1


def test_an_unknown_option_names_the_nearest(variant):
    name, _ = VARIANTS[variant]
    option = min(OBJECTIVES[name].options.__dataclass_fields__)
    with pytest.raises(UsageError, match=rf"objective '{name}': no key .*did you mean '{option}'"):
        make_objective(name, dim=DIM, identities=CLASSES, **{option + "x": 1})


def test_a_wrong_type_is_refused(variant):
    name, _ = VARIANTS[variant]
    for option in OBJECTIVES[name].options.__dataclass_fields__:
        with pytest.raises(UsageError, match=option):
            make_objective(name, dim=DIM, identities=CLASSES, **{option: [1]})
