"""float32 encoder graph -> int8 encoder graph, calibrated on photos (static quantisation, QDQ).

    tensor -> [conv, GELU, conv, GELU, conv] + trunk -> ... -> 1x1 -> latent
              int8 matrix products             float32         float32

Every convolution but the projection works with 8 bits, and so does the local exit's last layer: activations
unsigned, one scale a tensor; weights signed with 7 bits (-63 ... 63), one scale an output channel. 7 bits,
because processors without VNNI add pairs of products in int16: 2 x 255 x 63 fits, so all give the same sums.
The sums of the residual blocks and the projection stay float32: the rounding of one block does not add to
that of the next, and the latent has more than 8 bits before its gain.

What is written is ordinary ONNX: QuantizeLinear and DequantizeLinear around each layer, which ONNX Runtime
fuses into QLinearConv and QGemm. Input and outputs are float32, like any encoder's.
"""

from collections.abc import Iterator

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

OPSET = 20  # the first with Gelu, which stays in one piece then
WEIGHT_LIMIT = 63
BINS = 2048  # of a histogram
CLIPS = np.linspace(0.2, 1.0, 33)  # shares of a tensor's range that are tried


def quantised_layers(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The layers that work with 8 bits: matrix products, and the convolutions that make no output of the graph."""
    outputs = {value.name for value in graph.output}
    return [
        node for node in graph.node
        if node.op_type == "Gemm" or (node.op_type == "Conv" and node.output[0] not in outputs)
    ]  # fmt: skip


def choose_scale(histogram: np.ndarray, low: float, high: float) -> tuple[np.float32, int]:
    """(scale, zero point) of 8 unsigned bits with the least squared error on a histogram over [low, high].

    Tries to clip either end. 0 is always exact: it is the padding.
    """
    centres = low + (np.arange(len(histogram)) + 0.5) * (high - low) / len(histogram)
    best = (np.inf, np.float32(1), 0)
    for below in CLIPS if low < 0 else CLIPS[-1:]:
        for above in CLIPS if high > 0 else CLIPS[-1:]:
            bottom, top = min(low * below, 0.0), max(high * above, 0.0)
            scale = np.float32(max(top - bottom, 1e-6) / 255)
            zero = int(np.clip(np.rint(-bottom / scale), 0, 255))
            restored = (np.clip(np.rint(centres / scale) + zero, 0, 255) - zero) * scale
            error = float(histogram @ (restored - centres) ** 2)
            if error < best[0]:
                best = (error, scale, zero)
    return best[1], best[2]


def calibrate(model: onnx.ModelProto, names: list[str], tensors: np.ndarray) -> dict[str, tuple[np.float32, int]]:
    """(scale, zero point) of the named tensors of a graph, from its runs on `tensors` (M, 1, 3, H, W)."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    known = {value.name for value in (*probe.graph.input, *probe.graph.output)}
    probe.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names if name not in known)
    session = onnxruntime.InferenceSession(probe.SerializeToString(), providers=["CPUExecutionProvider"])
    inputs = {value.name for value in model.graph.input}
    computed = [name for name in names if name not in inputs]

    def runs() -> Iterator[dict[str, np.ndarray]]:
        for tensor in tensors:
            feeds = {name: tensor for name in inputs}
            yield feeds | dict(zip(computed, session.run(computed, feeds), strict=True))

    ranges = {name: (0.0, 0.0) for name in names}
    for values in runs():
        for name in names:
            low, high = ranges[name]
            ranges[name] = (min(low, float(values[name].min())), max(high, float(values[name].max())))
    histograms = {name: np.zeros(BINS) for name in names}
    for values in runs():
        for name in names:
            histograms[name] += np.histogram(values[name], BINS, ranges[name])[0]
    return {name: choose_scale(histograms[name], *ranges[name]) for name in names}


def quantise_weight(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights (O, ...) -> int8 of the same shape and the scale (O) of each output channel."""
    largest = np.abs(weight).reshape(len(weight), -1).max(1)
    scale = (np.maximum(largest, 1e-9) / WEIGHT_LIMIT).astype(np.float32)
    return np.rint(weight / scale.reshape(-1, *[1] * (weight.ndim - 1))).astype(np.int8), scale


def quantise_graph(model: onnx.ModelProto, tensors: np.ndarray) -> onnx.ModelProto:
    """Turns a float32 graph (opset 20) into its int8 form, calibrated on inputs `tensors` (M, 1, 3, H, W)."""
    graph = model.graph
    outputs = {value.name for value in graph.output}
    layers = quantised_layers(graph)
    names = dict.fromkeys(name for node in layers for name in (node.input[0], node.output[0]) if name not in outputs)
    scales = calibrate(model, list(names), tensors)
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    nodes: list[onnx.NodeProto] = []

    def rounding(name: str, scale: np.ndarray, zero: np.ndarray) -> list[str]:
        weights[f"{name}.scale"], weights[f"{name}.zero"] = np.asarray(scale), np.asarray(zero)
        return [f"{name}.scale", f"{name}.zero"]

    def round_tensor(source: str, name: str, output: str) -> None:
        """`output` is what `source` holds, rounded to the 8 bits of tensor `name`."""
        scale, zero = scales[name]
        constants = rounding(name, scale, np.uint8(zero))
        nodes.append(helper.make_node("QuantizeLinear", [source, *constants], [f"{name}.uint8"]))
        nodes.append(helper.make_node("DequantizeLinear", [f"{name}.uint8", *constants], [output]))

    def restore(name: str, integers: np.ndarray, scale: np.ndarray) -> None:
        """`name` is integers (O, ...) times scale (O)."""
        weights[f"{name}.{integers.dtype}"] = integers
        constants = rounding(name, scale, np.zeros(len(scale), integers.dtype))
        nodes.append(helper.make_node("DequantizeLinear", [f"{name}.{integers.dtype}", *constants], [name], axis=0))

    quantised = {node.output[0] for node in layers}
    rounded: dict[str, str] = {}  # tensor -> the name of its rounded values
    for node in list(graph.node):
        output = node.output[0]
        if output not in quantised:
            nodes.append(node)
            continue
        source, weight, bias = node.input
        if source not in rounded:
            rounded[source] = f"{source}.rounded"
            round_tensor(source, source, rounded[source])
        integers, scale = quantise_weight(weights.pop(weight))
        restore(weight, integers, scale)
        scale = scale * scales[source][0]  # of the sums
        restore(bias, np.rint(weights.pop(bias) / scale).astype(np.int32), scale)
        nodes.append(node)
        node.input[0] = rounded[source]
        if output not in outputs:
            node.output[0] = f"{output}.sum"
            round_tensor(node.output[0], output, output)
            rounded[output] = output

    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(numpy_helper.from_array(values, name) for name, values in weights.items())
    return model
