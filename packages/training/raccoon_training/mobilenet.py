"""MobileNetV2 1.0 at 224 px, cut into stem and classifier (Sandler et al. 2018, arXiv 1801.04381).

    tensor (B,3,224,224) -> stem -> features (B,32,28,28) -> classifier -> logits (B,1000)

Loads the weights of `shared/weights`: BatchNorm folded into biases, TensorFlow's SAME padding.
"""

import copy
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

# (expansion, channels, repeats, first stride), Table 2 of the paper
STAGES = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
SPLIT = 7  # features.0 ... features.6 are the stem: 32 channels at 28 x 28


class SameConv(nn.Conv2d):
    """Convolution with TensorFlow's SAME padding: with stride 2 one pixel at the right and bottom only."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1):
        super().__init__(c_in, c_out, kernel, stride, padding=kernel // 2 if stride == 1 else 0, groups=groups)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.stride[0] == 2:
            x = F.pad(x, (0, 1, 0, 1))
        return super().forward(x)


class Conv(nn.Module):
    """A `SameConv` under the key `conv`, as the weight file names it, with ReLU6 or linear."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1, *, linear: bool = False):
        super().__init__()
        self.conv = SameConv(c_in, c_out, kernel, stride, groups)
        self.linear = linear

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        return x if self.linear else F.relu6(x)


class InvertedResidual(nn.Module):
    """Expand 1x1 (not with expansion 1), depthwise 3x3, project 1x1 without activation."""

    def __init__(self, c_in: int, c_out: int, stride: int, expansion: int):
        super().__init__()
        hidden = c_in * expansion
        expand = [Conv(c_in, hidden, 1)] if expansion != 1 else []
        depthwise = Conv(hidden, hidden, 3, stride, groups=hidden)
        self.conv = nn.Sequential(*expand, depthwise, Conv(hidden, c_out, 1, linear=True))
        self.skip = stride == 1 and c_in == c_out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv(x) if self.skip else self.conv(x)


class MobileNetV2(nn.Module):
    """The unsplit network; `stem`, `tail` and `head` are its parts."""

    name = "mobilenet"
    taps = (13, 17)  # blocks behind the split whose outputs the feature loss also compares
    feature_channels = 32

    def __init__(self, classes: int = 1000):
        super().__init__()
        self.classes = classes
        layers: list[nn.Module] = [Conv(3, 32, 3, stride=2)]
        width = 32
        for expansion, channels, repeats, first_stride in STAGES:
            for i in range(repeats):
                layers.append(InvertedResidual(width, channels, first_stride if i == 0 else 1, expansion))
                width = channels
        layers.append(Conv(width, 1280, 1))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(1280, classes)

    def stem(self, x: torch.Tensor) -> torch.Tensor:
        """tensor (B, 3, 224, 224) -> features (B, 32, 28, 28)."""
        return self.features[:SPLIT](x)

    def tail(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """features (B, 32, 28, 28) -> logits (B, 1000) and the features at `taps`."""
        tapped = []
        for i in range(SPLIT, len(self.features)):
            x = self.features[i](x)
            if i in self.taps:
                tapped.append(x)
        return self.classifier(x.mean((2, 3))), tapped

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.tail(self.stem(x))[0]

    def without_stem(self) -> "MobileNetV2":
        """A copy of what is behind the split; only `tail` of it works."""
        behind = copy.deepcopy(self)
        for i in range(SPLIT):
            behind.features[i] = nn.Identity()
        return behind


def load_mobilenet(weights: Path) -> MobileNetV2:
    """The frozen network with the weights of `weights` (safetensors, float16)."""
    network = MobileNetV2()
    network.load_state_dict({name: w.float() for name, w in load_file(weights).items()})
    return network.eval().requires_grad_(False)
