import torch
from conftest import count_macs

from raccoon_training.decoder import Decoder, PaperDecoder
from raccoon_training.mobilenet import MobileNetV2


def test_paper_decoder():
    decoder = PaperDecoder()
    assert decoder(torch.zeros(1, 64, 2, 3)).shape == (1, 256, 4, 6)  # ResNet-50's layer1 is twice the latent
    assert decoder.macs(28, 28) == count_macs(decoder, 64, 28, 28)
    assert round(decoder.macs(28, 28) / 1e9, 1) == 7.9


def test_decoder_costs_less_than_the_stem_that_it_replaces():
    decoder = Decoder(48, 64, 32, 3, 32)
    assert decoder(torch.zeros(2, 48, 5, 4)).shape == (2, 32, 5, 4)
    macs = count_macs(decoder, 48, 28, 28)
    assert decoder.macs(28, 28) == macs
    network = MobileNetV2()
    assert macs < count_macs(network.features[:7], 3, 224, 224)


def test_output_is_in_the_features_own_units():
    decoder = Decoder(6, 8, 4, 1, 2)
    latent = torch.randn(1, 6, 3, 3)
    plain = decoder(latent)
    decoder.mean += torch.tensor([5.0, -5.0])[:, None, None]
    decoder.deviation *= 2
    torch.testing.assert_close(decoder(latent), 2 * plain + torch.tensor([5.0, -5.0])[:, None, None])
