"""A bundle's cloud half in ONNX Runtime, for the servers beside this file."""

import json
from pathlib import Path

import numpy as np
import onnxruntime as ort


class Networks:
    def __init__(self, bundle: str) -> None:
        folder = Path(bundle)
        manifest = json.loads((folder / "manifest.json").read_text())
        self.name = manifest["name"]
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.decoder, self.classifier = (
            ort.InferenceSession(folder / manifest[part]["file"], options, ["CPUExecutionProvider"])
            for part in ("decoder", "classifier")
        )

    def logits(self, symbols: np.ndarray, point: np.ndarray) -> np.ndarray:
        """symbols (B, C, h, w) int16, point (B) int64 -> (B, K) float32."""
        (features,) = self.decoder.run(["features"], {"symbols": symbols, "point": point})
        (logits,) = self.classifier.run(["logits"], {"features": features})
        return logits
