"""The cloud's decoder: quantised latent -> the features that the unsplit network would have made.

    latent (B,C,28,28), point (B) -> 1x1 -> blocks -> 1x1 -> features (B,32,28,28)                   Decoder
    latent (B,64,28,28) -> 5x5 up 2 -> 3x3 -> 3x3 -> 1x1 -> features (B,256,56,56)              PaperDecoder
    latent (B,64,28,28) -> 1x1 -> blocks -> 1x1 -> up 2 -> features (B,256,56,56)               LightDecoder

`Decoder` stays at the latent's own size and costs less than the stem that it replaces, and so does `LightDecoder`. The
paper's takes 7.9 GMAC, twice its classifier.
"""

import torch
from torch import nn

from .blocks import BottleneckBlock

# what the decoder knows of the operating point: nothing, a scale and a shift behind its first layer, or at every block
CONDITIONS = ("none", "first", "film")


class Decoder(nn.Module):
    """One set of weights for `points` operating points.

    Each may have scales and shifts of its own, so that the blocks can tell coarse symbols from fine ones (feature-wise
    modulation, Perez et al., AAAI 2018). condition: where, one of CONDITIONS.
    """

    def __init__(
        self,
        latent_channels: int,
        width: int,
        hidden: int,
        blocks: int,
        feature_channels: int,
        *,
        points: int,
        condition: str = "first",
    ):
        super().__init__()
        self.expand = nn.Conv2d(latent_channels, width, 1)
        if condition != "none":
            self.scale = nn.Parameter(torch.ones(points, width))
            self.shift = nn.Parameter(torch.zeros(points, width))
        if condition == "film":  # once more in front of every block but the first
            self.block_scale = nn.Parameter(torch.ones(points, blocks - 1, width))
            self.block_shift = nn.Parameter(torch.zeros(points, blocks - 1, width))
        self.condition = condition
        self.blocks = nn.Sequential(*(BottleneckBlock(width, hidden) for _ in range(blocks)))
        self.project = nn.Conv2d(width, feature_channels, 1)
        # The features' own mean and deviation, so that the layers work with values around one.
        self.register_buffer("mean", torch.zeros(feature_channels, 1, 1))
        self.register_buffer("deviation", torch.ones(feature_channels, 1, 1))

    def forward(self, latent: torch.Tensor, point: torch.Tensor) -> torch.Tensor:
        """latent (B, C, h, w) of operating points point (B) -> features (B, F, h, w)."""
        x = self.expand(latent)
        if self.condition != "none":
            x = _modulate(x, self.scale[point], self.shift[point])
        for i, block in enumerate(self.blocks):
            if self.condition == "film" and i > 0:
                x = _modulate(x, self.block_scale[point, i - 1], self.block_shift[point, i - 1])
            x = block(x)
        return self.project(x) * self.deviation + self.mean

    def macs(self, h: int, w: int) -> int:
        """Multiply-accumulates of one image with a latent of h x w."""
        convs = (m for m in self.modules() if isinstance(m, nn.Conv2d))
        return h * w * sum(conv.weight.numel() for conv in convs)


def _modulate(x: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """x (B, C, h, w), scale and shift (B, C)."""
    return x * scale[:, :, None, None] + shift[:, :, None, None]


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


class LightDecoder(nn.Sequential):
    """The universal model's kind of decoder for the paper's models: blocks at the latent's size, enlarged at the end.

    latent (B, 64, h, w) -> features (B, 256, 2h, 2w), at most the cost of the stem that it replaces.
    """

    def __init__(self, latent_channels: int = 64, feature_channels: int = 256, width: int = 128, hidden: int = 80):
        super().__init__(
            nn.Conv2d(latent_channels, width, 1),
            *(BottleneckBlock(width, hidden) for _ in range(5)),
            nn.Conv2d(width, 4 * feature_channels, 1),
            nn.PixelShuffle(2),
        )

    def macs(self, h: int, w: int) -> int:
        """Multiply-accumulates of one image with a latent of h x w."""
        convs = (m for m in self.modules() if isinstance(m, nn.Conv2d))
        return h * w * sum(conv.weight.numel() for conv in convs)
