import pytest
import torch
from conftest import count_macs

from raccoon_training.decoder import Decoder, LightDecoder, PaperDecoder
from raccoon_training.export import DecoderGraph
from raccoon_training.mobilenet import MobileNetV2
from raccoon_training.model import SplitConfig, SplitModel
from raccoon_training.resnet import ResNet


def test_paper_decoder():
    decoder = PaperDecoder()
    assert decoder(torch.zeros(1, 64, 2, 3)).shape == (1, 256, 4, 6)  # ResNet-50's layer1 is twice the latent
    assert decoder.macs(28, 28) == count_macs(decoder, 64, 28, 28)
    assert round(decoder.macs(28, 28) / 1e9, 1) == 7.9


@pytest.mark.parametrize("depth", [18, 34, 50])
def test_the_light_decoder_costs_less_than_the_stem_behind_which_the_paper_cuts(depth):
    with torch.device("meta"):
        network = ResNet(depth)
        decoder = LightDecoder(64, network.feature_channels)
        network.forward = network.stem
    stem = count_macs(network, 3, 224, 224)
    assert decoder.macs(28, 28) < stem and decoder.macs(28, 28) == count_macs(decoder, 64, 28, 28)
    assert LightDecoder(64, 8)(torch.zeros(1, 64, 2, 3)).shape == (1, 8, 4, 6)


def test_decoder_costs_less_than_the_stem_that_it_replaces():
    model = SplitModel(SplitConfig())
    symbols, point = torch.zeros(2, 48, 28, 28, dtype=torch.int16), torch.tensor([0, 23])
    assert DecoderGraph(model)(symbols, point).shape == (2, 32, 28, 28)
    assert model.decoder.macs(28, 28) < count_macs(MobileNetV2().features[:7], 3, 224, 224)


def test_output_is_in_the_features_own_units():
    decoder = Decoder(6, 8, 4, 1, 2, points=1)
    latent, point = torch.randn(1, 6, 3, 3), torch.tensor([0])
    plain = decoder(latent, point)
    decoder.mean += torch.tensor([5.0, -5.0])[:, None, None]
    decoder.deviation *= 2
    torch.testing.assert_close(decoder(latent, point), 2 * plain + torch.tensor([5.0, -5.0])[:, None, None])


def test_points_in_one_batch():
    """Each point has its own scale and shift; a mixed batch is the separate ones."""
    decoder = Decoder(6, 8, 4, 2, 2, points=3)
    with torch.no_grad():
        decoder.scale.normal_()
        decoder.shift.normal_()
    latent, points = torch.randn(4, 6, 3, 3), torch.tensor([2, 0, 1, 0])
    together = decoder(latent, points)
    each = torch.cat([decoder(latent[i : i + 1], points[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(together, each)
    assert not torch.allclose(decoder(latent, points.flip(0)), together)


def test_what_the_decoder_knows_of_the_point():
    """Nothing, or at its first layer, or at every block; all begin as the same function."""
    latent, points = torch.randn(2, 6, 3, 3), torch.tensor([2, 0])
    outputs = {}
    for condition, count in (("none", 0), ("first", 2 * 3 * 8), ("film", 2 * 3 * 8 * 2)):
        torch.manual_seed(1)
        decoder = Decoder(6, 8, 4, 2, 2, points=3, condition=condition)
        own = [p for name, p in decoder.named_parameters() if "scale" in name or "shift" in name]
        assert sum(p.numel() for p in own) == count
        outputs[condition] = decoder(latent, points)
        for p in own:
            torch.nn.init.normal_(p)
        mixed = decoder(latent, points)
        each = torch.cat([decoder(latent[i : i + 1], points[i : i + 1]) for i in range(2)])
        torch.testing.assert_close(mixed, each)
        assert torch.allclose(mixed, outputs[condition]) == (condition == "none")
    assert torch.equal(outputs["none"], outputs["first"]) and torch.equal(outputs["none"], outputs["film"])
