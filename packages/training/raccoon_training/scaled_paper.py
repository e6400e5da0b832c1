"""The paper's models and Entropic Student beside MobileNetV2, whose whole costs 0.3 GMAC where a ResNet-50 costs 4.1.

    tensor (B,3,H,W) -> encoder -> latent (B,48,H/8,W/8) -> decoder -> features (B,32,H/8,W/8)             light-nN
    tensor (B,3,H,W) -> convolutions, GDN -> latent (B,8,H/4-1,W/4-1) -> inverse GDN -> features     entropic-student

Structure, loss and stages are theirs. The widths are scaled so that N = 4 costs the edge a quarter of the network and
Entropic Student as much as N = 4 (the paper: an eighth of a ResNet-50, 0.489 and 0.466 GMAC), and either decoder as
much as the universal model's. The start is the universal model's too, or a short run would measure its initialisation.
"""

import torch
import torch.nn.functional as F
from torch import nn

from .blocks import ResidualBlock
from .decoder import Decoder
from .encoder import Encoder, principal_filters
from .entropic_student import GDN, StudentDecoder, StudentEncoder
from .mobilenet import MobileNetV2
from .paper import EntropyBottleneck, PaperModel

WIDTH, LATENT_CHANNELS = 48, 48  # light-nN
STUDENT_CHANNELS = 8
DECODER = (64, 48, 5)  # width, hidden width, blocks: the universal model's
STUDENT_DECODER = (128, 64)
START = 0.3  # deviation of its features, in that of the features themselves
RATE_SHARE = 4  # training takes the rate from one position in so many


class ScaledEncoder(nn.Module):
    """The paper's encoder at other widths: tensor (B, 3, H, W) -> latent (B, C, H/8, W/8)."""

    def __init__(self, blocks: int, width: int = WIDTH, latent_channels: int = LATENT_CHANNELS):
        super().__init__()
        self.nested = Encoder(width, width // 2, latent_channels, (blocks,), ResidualBlock)
        self.blocks, self.latent_channels = blocks, latent_channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.nested(x, self.blocks)

    @torch.no_grad()
    def calibrate(self, x: torch.Tensor, steps: float) -> None:
        """Whitened patches, and every latent channel at mean 0 and deviation `steps`, on photos x (B, 3, H, W)."""
        self.nested.whiten(x)
        project = self.nested.project[str(self.blocks)]
        deviation, mean = torch.std_mean(self(x), (0, 2, 3))
        project.weight *= (steps / deviation)[:, None, None, None]
        project.bias.copy_((project.bias - mean) * steps / deviation)


class ScaledStudentEncoder(StudentEncoder):
    """Entropic Student's, fewer channels.

    Without a bias anywhere it is an odd function: it gives the negative of a photo the negative of its latent. Photos
    are therefore taken as black = 0, and only what is brighter counts.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x + 1)

    @torch.no_grad()
    def calibrate(self, x: torch.Tensor, steps: float) -> None:
        """Principal components in front, GDNs where they bend, latent channels at deviation `steps` on photos x."""
        first = self[0]
        patches = F.unfold(x + 1, first.kernel_size, padding=first.padding, stride=first.stride)
        first.weight.copy_(principal_filters(patches, first.out_channels)[0].reshape(first.weight.shape))
        bend(self, x + 1)
        self[-1].weight *= (steps / self(x).std((0, 2, 3)))[:, None, None, None]


class ScaledStudentDecoder(StudentDecoder):
    """Entropic Student's, at half the latent's size and with widths of ours."""

    def __init__(self, latent_channels: int, feature_channels: int):
        super().__init__(latent_channels, feature_channels, STUDENT_DECODER, stride=2)

    @torch.no_grad()
    def calibrate(self, latent: torch.Tensor) -> None:
        """GDNs where they bend, features of little deviation, on latents (B, C, h, w)."""
        self[-1].weight *= START / bend(self, latent).std()


@torch.no_grad()
def bend(layers: nn.Sequential, x: torch.Tensor) -> torch.Tensor:
    """Sets each GDN to 1 + |x| / deviation of x: with small weights it is the identity for most of a short run."""
    for layer in layers:
        if isinstance(layer, GDN):
            layer.gamma = torch.diag(1 / x.std((0, 2, 3)))[:, :, None, None]
        x = layer(x)
    return x


class Features(nn.Module):
    """What a decoder (B, C, h, w) -> (B, F, h, w) makes, at the mean and deviation of the features themselves."""

    def __init__(self, decoder: nn.Module, feature_channels: int):
        super().__init__()
        self.decoder = decoder
        self.register_buffer("mean", torch.zeros(feature_channels, 1, 1))
        self.register_buffer("deviation", torch.ones(feature_channels, 1, 1))

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        return self.decoder(latent) * self.deviation + self.mean

    @torch.no_grad()
    def calibrate(self, features: torch.Tensor) -> None:
        """Takes mean and deviation of the unsplit network's features (B, F, h, w)."""
        deviation, mean = torch.std_mean(features, (0, 2, 3))
        self.mean.copy_(mean[:, None, None])
        self.deviation.copy_(deviation[:, None, None])


class OnePoint(Decoder):
    """The universal model's decoder for a single operating point: latent (B, C, h, w) -> (B, F, h, w)."""

    def __init__(self, latent_channels: int, feature_channels: int):
        super().__init__(latent_channels, *DECODER, feature_channels, points=1, condition="none")

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        return super().forward(latent, torch.zeros(len(latent), dtype=torch.long))


def scaled_model(
    blocks: int | None, classifier: MobileNetV2, width: int | None = None, latent_channels: int | None = None
) -> PaperModel:
    """The paper's model with N = `blocks`, or Entropic Student (None), with MobileNetV2's tail behind it."""
    features = classifier.feature_channels
    if blocks is None:
        channels = latent_channels or STUDENT_CHANNELS
        encoder: nn.Module = ScaledStudentEncoder(channels)
        decoder: nn.Module = ScaledStudentDecoder(channels, features)
    else:
        channels = latent_channels or LATENT_CHANNELS
        encoder, decoder = ScaledEncoder(blocks, width or WIDTH, channels), OnePoint(channels, features)
    bottleneck = EntropyBottleneck(channels, (3, 3), 4.0, positions=RATE_SHARE)
    return PaperModel(encoder, Features(decoder, features), classifier, bottleneck)


def calibrate(model: PaperModel, x: torch.Tensor, features: torch.Tensor, steps: float) -> None:
    """Starts a model of `scaled_model` from photos x (B, 3, H, W) and their features (B, F, h, w).

    steps: a latent channel's deviation; the root of the rate in bits per pixel is about right.
    """
    model.encoder.calibrate(x, steps)
    if isinstance(model.decoder.decoder, ScaledStudentDecoder):
        with torch.no_grad():
            model.decoder.decoder.calibrate(model.encoder(x))
    model.decoder.calibrate(features)
