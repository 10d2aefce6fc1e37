from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np
import pytest

from verify.errors import DataError
from verify.models.bundle import load_session
from verify.models.graphs.dlib_resnet import NETWORK_FILE, to_onnx

MEANS = (122.75, 117.0, 104.5)
# (channels in, channels out, kernel, stride, padding): a stem and three blocks, like dlib's but thinner
LAYERS = [
    (3, 4, 7, 2, 0),
    (4, 4, 3, 1, 1),
    (4, 4, 3, 1, 1),
    (4, 6, 3, 2, 0),
    (6, 6, 3, 1, 1),
    (6, 6, 3, 1, 1),
    (6, 6, 3, 1, 1),
]


def integer(value: int) -> bytes:
    size = max(1, (abs(value).bit_length() + 7) // 8)
    return bytes([size | (0x80 if value < 0 else 0)]) + abs(value).to_bytes(size, "little")


def real(value: float) -> bytes:
    mantissa, exponent = math.frexp(value)
    return integer(int(mantissa * 2**24)) + integer(exponent - 24)


def tensor(values: np.ndarray) -> bytes:
    sizes = (values.size, 1, 1, 1)
    return integer(2) + b"".join(map(integer, sizes)) + values.astype("<f4").tobytes()


def named(layer: str) -> bytes:
    return integer(len(layer)) + layer.encode()


@pytest.fixture(scope="module")
def parts():
    rng = np.random.default_rng(8)
    convolutions = []
    for entry, out, size, stride, padding in LAYERS:
        weight = rng.normal(0, (entry * size * size) ** -0.5, (out, entry, size, size))
        rest = rng.normal(0, 0.2, out), rng.uniform(0.5, 1.5, out), rng.normal(0, 0.2, out)
        convolutions.append((*(array.astype(np.float32) for array in (weight, *rest)), stride, padding))
    return convolutions, rng.normal(0, 0.4, (6, 5)).astype(np.float32)


def dlib_file(parts) -> bytes:
    convolutions, dense = parts
    data = named("loss_metric_2") + named("input_rgb_image_sized") + b"".join(map(real, MEANS))
    for weight, bias, gamma, beta, stride, padding in convolutions:
        geometry = (len(weight), *weight.shape[2:], stride, stride, padding, padding)
        data += (
            named("con_4") + tensor(np.concatenate([weight.ravel(), bias])) + b"".join(map(integer, geometry))
        )
        data += b"110" + named("affine_") + tensor(np.concatenate([gamma, beta])) + b"111"
    return data + named("fc_2") + integer(5) + integer(6) + tensor(dense)


def by_torch(parts, photos: np.ndarray) -> np.ndarray:
    torch = pytest.importorskip("torch", reason="needs the training extra")
    functional = torch.nn.functional
    convolutions, dense = parts

    def convolve(x, index):
        weight, bias, gamma, beta, stride, padding = convolutions[index]
        x = functional.conv2d(
            x, torch.from_numpy(weight), torch.from_numpy(bias), stride=stride, padding=padding
        )
        return x * torch.from_numpy(gamma)[:, None, None] + torch.from_numpy(beta)[:, None, None]

    x = (torch.from_numpy(photos) - torch.tensor(MEANS)[:, None, None]) / 256
    x = functional.max_pool2d(convolve(x, 0).relu(), 3, 2)
    for first in (1, 3, 5):
        y = convolve(convolve(x, first).relu(), first + 1)
        shortcut = functional.avg_pool2d(x, 2) if convolutions[first][4] == 2 else x
        total = torch.zeros(
            len(x), *(max(a, b) for a, b in zip(y.shape[1:], shortcut.shape[1:], strict=True))
        )
        for summand in (y, shortcut):
            _, channels, height, width = summand.shape
            total[:, :channels, :height, :width] += summand
        x = total.relu()
    return functional.normalize(x.mean(dim=(2, 3)) @ torch.from_numpy(dense)).numpy()


@pytest.mark.train
def test_the_graph_computes_dlibs_network(parts, tmp_path) -> None:
    path = tmp_path / NETWORK_FILE
    path.write_bytes(dlib_file(parts))
    session = load_session(to_onnx(path)["model.onnx"].SerializeToString())
    photos = np.random.default_rng(9).uniform(0, 255, (3, 3, 150, 150)).astype(np.float32)
    (found,) = session.run(None, {"input": photos})
    np.testing.assert_allclose(found, by_torch(parts, photos), atol=2e-6)


def test_dlibs_other_files_are_kept_as_they_are(parts, tmp_path) -> None:
    (tmp_path / NETWORK_FILE).write_bytes(dlib_file(parts))
    other = tmp_path / "shape_predictor_5_face_landmarks.dat"
    other.write_bytes(b"trees")
    files = to_onnx(tmp_path)
    assert list(files) == ["model.onnx", other.name]
    assert files[other.name] == other


def test_integers_and_reals_are_read_as_dlib_writes_them() -> None:
    from verify.models.graphs.dlib_resnet import _Reader

    numbers = [0, 1, -1, 127, 128, 255, 256, -65_536, 2**40]
    reader = _Reader(b"".join(map(integer, numbers)) + real(122.75) + real(-0.0625))
    assert [reader.integer() for _ in numbers] == numbers
    assert (reader.real(), reader.real()) == (122.75, -0.0625)


@pytest.mark.parametrize("cut", [0, 10, 40, 200, 3_000, -1, -30])
def test_damaged_files_are_named(parts, tmp_path, cut) -> None:
    path = tmp_path / NETWORK_FILE
    path.write_bytes(dlib_file(parts)[:cut])
    with pytest.raises(DataError, match=NETWORK_FILE):
        to_onnx(path)


def test_a_tensor_that_claims_more_than_the_file_is_refused(tmp_path) -> None:
    lie = integer(2) + b"".join(map(integer, (2**40, 2**40, 1, 1))) + struct.pack("<f", 1.0)
    path = tmp_path / NETWORK_FILE
    path.write_bytes(named("input_rgb_image_sized") + b"".join(map(real, MEANS)) + named("con_4") + lie)
    with pytest.raises(DataError, match="no tensor of sizes"):
        to_onnx(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        to_onnx(tmp_path)
