import pytest
import torch
from conftest import count_macs
from test_resnet import random_state

from raccoon_training.images import SIZE
from raccoon_training.images import normalise as to_unit
from raccoon_training.mobilenet import MobileNetV2
from raccoon_training.model import SplitConfig, SplitModel
from raccoon_training.networks import LateResNet, build_tail, load_network
from raccoon_training.resnet import ResNet, normalise


@pytest.fixture
def resnet18(tmp_path) -> LateResNet:
    torch.save(random_state(18, classes=5), tmp_path / "resnet18.pth")
    return load_network(tmp_path / "resnet18.pth")


@pytest.mark.parametrize(("depth", "channels"), [(18, 128), (34, 128), (50, 512)])
def test_resnets_are_cut_at_the_latents_size(depth, channels):
    with torch.device("meta"):
        network = LateResNet(depth, 7)
        features = network.stem(torch.empty(1, 3, SIZE, SIZE))
        logits, tapped = network.tail(features)
    assert (network.name, network.classes, network.feature_channels) == (f"resnet{depth}", 7, channels)
    assert features.shape == (1, channels, 28, 28) and logits.shape == (1, 7)
    assert [t.shape[2] for t in tapped] == [14, 7]


def test_a_file_says_which_network_it_is(tmp_path, random_weights, resnet18, generator):
    assert type(load_network(random_weights)) is MobileNetV2
    state = random_state(18, classes=5)
    torch.save(state, tmp_path / "resnet18.pth")
    network, whole = load_network(tmp_path / "resnet18.pth"), ResNet(18, 5).eval()
    whole.load_state_dict(state)
    pixels = torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8, generator=generator)
    torch.testing.assert_close(network(to_unit(pixels)), whole(normalise(pixels)), rtol=1e-3, atol=1e-3)
    assert not network.training and not any(p.requires_grad for p in network.parameters())
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in network.modules())
    torch.save({"anything": torch.zeros(1)}, tmp_path / "else.pth")
    with pytest.raises(ValueError, match="no ResNet-18, 34 or 50"):
        load_network(tmp_path / "else.pth")


@pytest.mark.parametrize("name", ["mobilenet", "resnet18"])
def test_a_tail_to_train_takes_the_networks_weights(name, random_weights, resnet18, generator):
    network = load_network(random_weights) if name == "mobilenet" else resnet18
    behind = build_tail(name, network.classes)
    behind.load_state_dict(network.without_stem().state_dict())
    features = network.stem(torch.randn(1, 3, 64, 64, generator=generator))
    (logits, taps), (expected, _) = behind.tail(features), network.tail(features)
    torch.testing.assert_close(logits, expected)
    assert len(taps) == 2 and all(p.requires_grad for p in behind.parameters())
    whole, part = (sum(p.numel() for p in n.parameters()) for n in (network, behind))
    assert part < whole and network(torch.zeros(1, 3, 64, 64)).shape == logits.shape  # the network is as it was


@pytest.mark.parametrize("depth", [18, 34, 50])
def test_what_a_split_resnet_may_cost(depth):
    """Edge: half of the whole network with the deepest encoder and its exit. Decoder: the part that it replaces."""
    with torch.device("meta"):
        network = LateResNet(depth, 20)
        model = SplitModel(SplitConfig.beside(network))
    edge = model.encoder.macs(SIZE, SIZE, 8) + model.exits["8"].macs(28, 28)
    whole = count_macs(network, 3, SIZE, SIZE)
    network.forward = network.stem
    stem = count_macs(network, 3, SIZE, SIZE)
    assert 2 * edge < whole and model.decoder.macs(28, 28) < stem
    if depth == 18:  # the figures that the documentation has
        assert (round(whole / 1e6), round(stem / 1e6)) == (1814, 991)
        assert round(edge / 1e6) == 362 and round(model.decoder.macs(28, 28) / 1e6) == 324
