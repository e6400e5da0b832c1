"""The cloud's decoder: quantised latent -> the features that the unsplit network would have made.

    latent (B,C,28,28), point (B) -> 1x1 -> blocks -> 1x1 -> features (B,32,28,28)                   Decoder
    latent (B,64,28,28) -> 5x5 up 2 -> 3x3 -> 3x3 -> 1x1 -> features (B,256,56,56)              PaperDecoder

`Decoder` stays at the latent's own size and costs less than the stem that it replaces. The paper's
takes 7.9 GMAC, twice its classifier.
"""

import torch
from torch import nn

from .blocks import BottleneckBlock


class Decoder(nn.Module):
    """One set of weights for `points` operating points. Each has a scale and a shift of its own behind the first layer.

    So the blocks can tell coarse symbols from fine ones (feature-wise modulation, Perez et al., AAAI 2018).
    """

    def __init__(
        self, latent_channels: int, width: int, hidden: int, blocks: int, feature_channels: int, *, points: int
    ):
        super().__init__()
        self.expand = nn.Conv2d(latent_channels, width, 1)
        self.scale = nn.Parameter(torch.ones(points, width))
        self.shift = nn.Parameter(torch.zeros(points, width))
        self.blocks = nn.Sequential(*(BottleneckBlock(width, hidden) for _ in range(blocks)))
        self.project = nn.Conv2d(width, feature_channels, 1)
        # The features' own mean and deviation, so that the layers work with values around one.
        self.register_buffer("mean", torch.zeros(feature_channels, 1, 1))
        self.register_buffer("deviation", torch.ones(feature_channels, 1, 1))

    def forward(self, latent: torch.Tensor, point: torch.Tensor) -> torch.Tensor:
        """latent (B, C, h, w) of operating points point (B) -> features (B, F, h, w)."""
        x = self.expand(latent) * self.scale[point][:, :, None, None] + self.shift[point][:, :, None, None]
        return self.project(self.blocks(x)) * self.deviation + self.mean

    def macs(self, h: int, w: int) -> int:
        """Multiply-accumulates of one image with a latent of h x w."""
        convs = (m for m in self.modules() if isinstance(m, nn.Conv2d))
        return h * w * sum(conv.weight.numel() for conv in convs)


class PaperDecoder(nn.Sequential):
    """The decoder of arXiv 2211.09897, Fig. 3 (widths as in its release), for a ResNet-50 cut after layer1.

    latent (B, 64, h, w) -> features (B, 256, 2h, 2w).
    """

    def __init__(self, latent_channels: int = 64, feature_channels: int = 256):
        super().__init__(
            nn.ConvTranspose2d(latent_channels, 256, 5, stride=2, padding=2, output_padding=1),
            nn.GELU(),
            nn.Conv2d(256, 512, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(512, 256, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(256, feature_channels, 1),
        )

    def macs(self, h: int, w: int) -> int:
        """Multiply-accumulates of one image with a latent of h x w. A transposed convolution works per input pixel."""
        up, *convs = (m for m in self if not isinstance(m, nn.GELU))
        return h * w * up.weight.numel() + 4 * h * w * sum(conv.weight.numel() for conv in convs)
