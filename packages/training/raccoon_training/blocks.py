"""The residual blocks of encoder and decoder."""

import torch
import torch.nn.functional as F
from torch import nn


class ResidualBlock(nn.Module):
    """Pre-activation: x + conv3x3(GELU(conv3x3(GELU(x)))), width -> hidden -> width, no normalisation.

    arXiv 2211.09897, Fig. 3; widths as in its release.
    """

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.conv1 = nn.Conv2d(width, hidden, 3, padding=1)
        self.conv2 = nn.Conv2d(hidden, width, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv2(F.gelu(self.conv1(F.gelu(x))))


class BottleneckBlock(nn.Module):
    """x + conv1x1(GELU(conv3x3(GELU(conv1x1(x))))), width -> hidden -> hidden -> width, no normalisation.

    The universal encoder's: at the same cost it has more hidden channels than two 3x3 convolutions.
    """

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.reduce = nn.Conv2d(width, hidden, 1)
        self.mix = nn.Conv2d(hidden, hidden, 3, padding=1)
        self.expand = nn.Conv2d(hidden, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.expand(F.gelu(self.mix(F.gelu(self.reduce(x)))))
