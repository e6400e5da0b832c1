import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper
from torch import nn

from raccoon_training.encoder import Encoder
from raccoon_training.exit_head import ExitHead
from raccoon_training.export import EncoderGraph, open_graph, trace_graph
from raccoon_training.quantise import OPSET, WEIGHT_LIMIT, choose_scale, quantise_graph, quantise_weight


@pytest.fixture
def tensors(generator) -> np.ndarray:
    """(6, 1, 3, 32, 32)"""
    return torch.randn(6, 1, 3, 32, 32, generator=generator).numpy()


@pytest.fixture
def traced(tensors) -> onnx.ModelProto:
    module = EncoderGraph(Encoder(16, 8, 6, stops=(2,)), ExitHead(16, 8, 10), 2)
    image = {"tensor": torch.from_numpy(tensors[0])}
    return trace_graph(module, image, ("latent", "exit_logits"), batched=False, opset=OPSET)


@pytest.fixture
def quantised(traced, tensors) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(traced)
    return quantise_graph(copy, tensors)


def test_both_outputs_are_near_those_of_the_float32_graph(traced, quantised, tensors):
    onnx.checker.check_model(quantised, full_check=True)
    exact, rounded = open_graph(traced.SerializeToString()), open_graph(quantised.SerializeToString())
    for name in ("latent", "exit_logits"):
        expected = np.stack([exact.run([name], {"tensor": tensor})[0] for tensor in tensors])
        actual = np.stack([rounded.run([name], {"tensor": tensor})[0] for tensor in tensors])
        assert actual.dtype == np.float32
        error = np.sqrt(np.mean((actual - expected) ** 2)) / expected.std()
        assert 0 < error < 0.05


def test_weights_are_7_bit_integers_and_the_projection_is_float32(quantised):
    stored = {tensor.name: tensor for tensor in quantised.graph.initializer}
    made_by = {node.output[0]: node for node in quantised.graph.node}
    layers = [node for node in quantised.graph.node if node.op_type in ("Conv", "Gemm")]
    assert len(layers) == 1 + 2 * 2 + 1 + 3  # patch, two blocks, projection, exit
    for node in layers:
        if node.output[0] == "latent":
            assert stored[node.input[1]].data_type == TensorProto.FLOAT
            continue
        # image, weights and bias are all integers times a scale: what ONNX Runtime takes for an int8 layer
        image, weight, bias = (made_by[name] for name in node.input)
        assert {image.op_type, weight.op_type, bias.op_type} == {"DequantizeLinear"}
        integers = numpy_helper.to_array(stored[weight.input[0]])
        assert integers.dtype == np.int8 and np.abs(integers).max() <= WEIGHT_LIMIT
        unit = numpy_helper.to_array(stored[image.input[1]]) * numpy_helper.to_array(stored[weight.input[1]])
        np.testing.assert_array_equal(numpy_helper.to_array(stored[bias.input[1]]), unit)


def test_onnx_runtime_computes_the_layers_with_integers(quantised, tmp_path):
    import onnxruntime  # noqa: PLC0415 - what is asked for here is the runtime's own view of the graph

    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    onnxruntime.InferenceSession(quantised.SerializeToString(), options, providers=["CPUExecutionProvider"])
    operators = [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
    assert operators.count("QLinearConv") == 7 and operators.count("QGemm") == 1
    assert operators.count("Conv") == 1  # the projection


def test_weights_of_a_channel_without_any():
    weight = np.zeros((2, 3, 1, 1), np.float32)
    weight[1] = np.array([0.52, -1.0, 0.25], np.float32).reshape(3, 1, 1)
    integers, scale = quantise_weight(weight)
    assert (integers[0] == 0).all() and (integers[1].ravel() == [33, -63, 16]).all()
    assert scale[1] == np.float32(1 / 63)


@pytest.mark.parametrize(("low", "high"), [(-1.0, 3.0), (0.0, 5.0), (-2.0, 0.0)])
def test_scale_covers_a_range_that_is_used_evenly(low, high):
    scale, zero = choose_scale(np.ones(2048), low, high)
    assert -zero * scale == pytest.approx(low, abs=0.02 * (high - low))
    assert (255 - zero) * scale == pytest.approx(high, abs=0.02 * (high - low))


def test_scale_clips_an_outlier():
    histogram = np.zeros(2048)
    histogram[:400], histogram[-1] = 1e6, 1
    scale, zero = choose_scale(histogram, 0.0, 10.0)
    assert zero == 0 and 255 * scale == pytest.approx(400 / 2048 * 10, rel=0.1)


def test_scale_of_a_tensor_that_is_always_0():
    scale, zero = choose_scale(np.ones(2048), 0.0, 0.0)
    assert scale > 0 and zero == 0


def test_layers_without_gelu_or_blocks(tensors):
    """What the quantiser sees is convolutions, whatever stands between them."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 1))
    graph = trace_graph(net, {"tensor": torch.from_numpy(tensors[0])}, "latent", batched=False, opset=OPSET)
    session = open_graph(quantise_graph(graph, tensors).SerializeToString())
    expected = net(torch.from_numpy(tensors[0])).detach().numpy()
    error = session.run(None, {"tensor": tensors[0]})[0] - expected
    assert 0 < error.std() < 0.05 * expected.std()
