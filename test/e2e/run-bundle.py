"""Runs a bundle's networks with onnxruntime and numpy alone: what anybody can do with the files.

    python run-bundle.py <bundle> <folder>

<folder>/tensor.f32 is (1, 3, H, W), <folder>/<point>.i16 the symbols (1, C, h, w) of an operating point. Writes every
encoder's latent to <folder>/<encoder>.f32; prints the classes of the points and of the unsplit network as JSON.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime

bundle, folder = Path(sys.argv[1]), Path(sys.argv[2])
manifest = json.loads((bundle / "manifest.json").read_text())
tensor = np.fromfile(folder / "tensor.f32", np.float32)
tensor = tensor.reshape(1, 3, manifest["input"]["height"], manifest["input"]["width"])
latent_shape = [1, *(manifest["latent"][side] for side in ("channels", "height", "width"))]


def run(file: str, **inputs: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(bundle / file, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]


def top(features: np.ndarray) -> int:
    return int(run(manifest["classifier"]["file"], features=features).argmax())


answers = {"points": {}, "unsplit": top(run(manifest["stem"]["file"], tensor=tensor))}
for file in sorted({point["encoder"] for point in manifest["points"]}):
    run(file, tensor=tensor).tofile(folder / f"{file}.f32")
for file in sorted(folder.glob("*.i16")):
    symbols = np.fromfile(file, np.int16).reshape(latent_shape)
    point = np.array([int(file.stem)], np.int64)
    answers["points"][file.stem] = top(run(manifest["decoder"]["file"], symbols=symbols, point=point))
print(json.dumps(answers))
