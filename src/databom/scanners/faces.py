"""Faces in a picture, by YuNet (2023mar) in onnxruntime. The weights are in the package; nothing is downloaded.

The picture is fitted into 640 × 640 pixels (letterbox), so a face of less than about ten pixels there is not seen.
"""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import Any, NamedTuple

from databom.errors import PluginError
from databom.scanners.versions import MODEL_DIGEST, SIDE, THRESHOLD

MODEL = "face_detection_yunet_2023mar.onnx"
_OVERLAP = 0.3
_STRIDES = (8, 16, 32)


class Face(NamedTuple):
    """Where a face is in the picture, in its pixels, and how sure that is."""

    x: float
    y: float
    width: float
    height: float
    score: float


class Detector:
    """A loaded model; runs on one thread.

    Raises:
        PluginError: the weights are not those that were shipped.
        ImportError: onnxruntime or numpy is not installed.
    """

    def __init__(self, threshold: float = THRESHOLD) -> None:
        import onnxruntime

        weights = (files("databom.scanners") / "weights" / MODEL).read_bytes()
        if f"sha256:{hashlib.sha256(weights).hexdigest()}" != MODEL_DIGEST:
            raise PluginError(f"{MODEL} is not the file databom shipped", hint="install databom anew")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        self._session = onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])
        self._threshold = threshold

    def faces(self, picture: Any) -> list[Face]:
        """The faces in an RGB picture of Pillow, the surest first."""
        import numpy as np

        width, height = picture.size
        scale = min(SIDE / width, SIDE / height)
        small = (max(1, round(width * scale)), max(1, round(height * scale)))
        pixels = np.asarray(picture if small == picture.size else picture.resize(small, 2), dtype=np.float32)
        canvas: Any = np.zeros((SIDE, SIDE, 3), dtype=np.float32)
        canvas[: small[1], : small[0]] = pixels[:, :, ::-1]  # the model learned from BGR
        outputs = self._session.run(None, {"input": canvas.transpose(2, 0, 1)[None]})
        names = [output.name for output in self._session.get_outputs()]
        found = _decode(dict(zip(names, outputs, strict=True)), self._threshold)
        across, down = width / small[0], height / small[1]
        return [Face(x * across, y * down, w * across, h * down, score) for x, y, w, h, score in _best(found)]


def _decode(outputs: dict[str, Any], threshold: float) -> list[Face]:
    import numpy as np

    found: list[Face] = []
    for stride in _STRIDES:
        classes = np.clip(outputs[f"cls_{stride}"][0, :, 0], 0, 1)
        objects = np.clip(outputs[f"obj_{stride}"][0, :, 0], 0, 1)
        scores = np.sqrt(classes * objects)
        across = SIDE // stride
        for at in np.flatnonzero(scores >= threshold):
            dx, dy, dw, dh = (float(value) for value in outputs[f"bbox_{stride}"][0, at])
            w, h = float(np.exp(dw)) * stride, float(np.exp(dh)) * stride
            x = (at % across + dx) * stride - w / 2
            y = (at // across + dy) * stride - h / 2
            found.append(Face(float(x), float(y), w, h, float(scores[at])))
    return found


def _best(found: list[Face]) -> list[Face]:
    """Of faces that overlap, the surest."""
    kept: list[Face] = []
    for face in sorted(found, key=lambda one: -one.score):
        if all(_overlap(face, other) <= _OVERLAP for other in kept):
            kept.append(face)
    return kept


def _overlap(one: Face, other: Face) -> float:
    w = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
    h = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
    if w <= 0 or h <= 0:
        return 0.0
    return w * h / (one.width * one.height + other.width * other.height - w * h)
