"""A stage of the ensemble in docs/oip.md for Triton's Python backend: PyPI has a Triton, and no ONNX backend for it."""

import os
import sys
from pathlib import Path

sys.path[:0] = os.environ["PYTHONPATH"].split(os.pathsep)  # Triton runs this in Python's isolated mode

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as triton


class TritonPythonModel:
    def initialize(self, args: dict) -> None:
        folder = Path(args["model_repository"]) / args["model_version"]
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(folder / "model.onnx", options, ["CPUExecutionProvider"])

    def execute(self, requests: list) -> list:
        return [self.answer(request) for request in requests]

    def answer(self, request: object) -> object:
        names = [tensor.name for tensor in self.session.get_inputs()]
        feeds = {name: triton.get_input_tensor_by_name(request, name).as_numpy() for name in names}
        (output,) = self.session.get_outputs()
        (values,) = self.session.run([output.name], feeds)
        return triton.InferenceResponse([triton.Tensor(output.name, np.ascontiguousarray(values))])
