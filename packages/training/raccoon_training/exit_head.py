"""The local exit: what the edge itself thinks of a photo, from the trunk that it computes anyway.

trunk (B,width,28,28) -> mean 2x2 -> 3x3/2 -> (B,hidden,7,7) -> 1x1 -> mean -> logits (B,1000)
"""

import torch
import torch.nn.functional as F
from torch import nn


class ExitHead(nn.Module):
    def __init__(self, width: int, hidden: int, classes: int):
        super().__init__()
        self.gather = nn.Conv2d(width, hidden, 3, stride=2, padding=1)
        self.widen = nn.Conv2d(hidden, 2 * hidden, 1)
        self.classify = nn.Linear(2 * hidden, classes)

    def forward(self, trunk: torch.Tensor) -> torch.Tensor:
        """trunk (B, width, h, w) -> logits (B, K)."""
        x = F.gelu(self.gather(F.avg_pool2d(F.gelu(trunk), 2)))
        return self.classify(F.gelu(self.widen(x)).mean((2, 3)))

    def macs(self, h: int, w: int) -> int:
        """Multiply-accumulates of one image with a trunk of h x w, multiples of 4."""
        convs = self.gather.weight.numel() + self.widen.weight.numel()
        return (h // 4) * (w // 4) * convs + self.classify.weight.numel()
