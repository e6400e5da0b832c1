import pytest
import torch
from conftest import count_macs

from raccoon_training.images import SIZE
from raccoon_training.mobilenet import MobileNetV2, load_mobilenet

LAYERS = {0: (32, 112), 1: (16, 112), 3: (24, 56), 6: (32, 28), 13: (96, 14), 17: (320, 7), 18: (1280, 7)}


def test_size_of_the_network():
    """arXiv 1801.04381, Table 4: 3.4 M parameters, 300 M multiply-adds (BatchNorm folded here)."""
    network = MobileNetV2()
    assert sum(p.numel() for p in network.parameters()) == 3_487_816
    assert count_macs(network, 3, SIZE, SIZE) == pytest.approx(300e6, rel=0.01)


def test_layers():
    network, x = MobileNetV2().to("meta"), torch.empty(1, 3, SIZE, SIZE, device="meta")
    for i, layer in enumerate(network.features):
        x = layer(x)
        if i in LAYERS:
            channels, size = LAYERS[i]
            assert x.shape == (1, channels, size, size)


def test_stem_and_tail_are_the_network(random_weights, generator):
    network = load_mobilenet(random_weights)
    x = torch.rand(1, 3, SIZE, SIZE, generator=generator) * 2 - 1
    features = network.stem(x)
    logits, tapped = network.tail(features)
    assert features.shape == (1, 32, 28, 28)
    assert [tuple(t.shape) for t in tapped] == [(1, 96, 14, 14), (1, 320, 7, 7)]
    assert torch.equal(logits, network(x))
    assert not any(p.requires_grad for p in network.parameters())


def test_probe_of_the_shared_weights(shared):
    """shared/weights/README.md names the five largest logits for this input."""
    path = shared / "weights" / "mobilenet_v2_imagenet1k.safetensors"
    if not path.exists():
        pytest.skip(f"{path} is not here; set RACCOON_DATA to the folder of shared data to run the probe")
    x = torch.linspace(-1, 1, 3 * SIZE * SIZE).reshape(1, 3, SIZE, SIZE)
    assert load_mobilenet(path)(x).topk(5).indices.tolist() == [[701, 885, 517, 908, 417]]
