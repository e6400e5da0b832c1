"""The cloud's decoder: quantised latent -> the features that the stem would have made.

    latent (B,C,28,28) -> 1x1 -> residual blocks -> 1x1 -> features (B,32,28,28)

Residual blocks at the latent's own size instead of the paper's transposed convolutions (7.9 GMAC):
it costs less than the stem that it replaces.
"""

import torch
from torch import nn

from .blocks import ResidualBlock


class Decoder(nn.Module):
    def __init__(self, latent_channels: int, width: int, hidden: int, blocks: int, feature_channels: int):
        super().__init__()
        self.expand = nn.Conv2d(latent_channels, width, 1)
        self.blocks = nn.Sequential(*(ResidualBlock(width, hidden) for _ in range(blocks)))
        self.project = nn.Conv2d(width, feature_channels, 1)

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        """latent (B, C, h, w) -> features (B, F, h, w)."""
        return self.project(self.blocks(self.expand(latent)))

    def macs(self, h: int, w: int) -> int:
        """Multiply-accumulates of one image with a latent of h x w."""
        convs = (m for m in self.modules() if isinstance(m, nn.Conv2d))
        return h * w * sum(conv.weight.numel() for conv in convs)
