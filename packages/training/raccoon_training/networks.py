"""The networks that the universal model splits: MobileNetV2 behind features.6, ResNets behind layer2.

    tensor (B,3,224,224) -> stem -> features (B,F,28,28) -> tail -> logits (B,K)

Both cuts are at the latent's own size, stride 8, so the decoder has nothing to enlarge. The paper cuts a ResNet behind
layer1, at stride 4; one stage later more of the network is behind the edge's encoder, and the cloud keeps less:

    ResNet-18, M multiply-accumulates   stem (what a decoder may cost)   tail (what the cloud runs besides)
    behind layer1, stride 4                                        580                                1,233
    behind layer2, stride 8                                        992                                  823
"""

import copy
from pathlib import Path

import torch

from .mobilenet import MobileNetV2, load_mobilenet
from .resnet import MEAN, STD, ResNet, fold_batch_norms, load_resnet, read_weights


class LateResNet(ResNet):
    """A ResNet that is cut behind layer2: 128 channels (ResNet-50: 512) at stride 8."""

    def __init__(self, depth: int = 50, classes: int = 1000):
        super().__init__(depth, classes)
        self.feature_channels *= 2
        self.name, self.classes = f"resnet{depth}", classes
        mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
        self.register_buffer("scale", 127.5 / std, persistent=False)  # (3, 1, 1)
        self.register_buffer("shift", (127.5 - mean) / std, persistent=False)

    def stem(self, x: torch.Tensor) -> torch.Tensor:
        """tensor (B, 3, 224, 224) -> features (B, 128, 28, 28).

        The tensor is in [-1, 1], as MobileNetV2's, and becomes the ResNets' own input here: in steps of 1 / 127.5 an
        int8 encoder's input is exact.
        """
        return self.layer2(super().stem(x * self.scale + self.shift))

    def tail(self, features: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """features (B, 128, 28, 28) -> logits (B, K), and what layer3 and layer4 make of them."""
        layer3 = self.layer3(features)
        layer4 = self.layer4(layer3)
        return self.fc(layer4.mean((2, 3))), [layer3, layer4]

    def without_stem(self) -> "LateResNet":
        """A copy of what is behind the split; only `tail` of it works."""
        behind = copy.deepcopy(self)
        del behind.conv1, behind.bn1, behind.layer1, behind.layer2
        return behind


SplitNetwork = MobileNetV2 | LateResNet


def load_network(weights: Path) -> SplitNetwork:
    """The frozen network of a file of weights, which say what it is; BatchNorms folded into the convolutions."""
    if "features.0.conv.weight" in read_weights(weights):
        return load_mobilenet(weights)
    return fold_batch_norms(load_resnet(weights, LateResNet))


def build_tail(name: str, classes: int) -> SplitNetwork:
    """What is behind the split of such a network, to be trained: only `tail` of it works."""
    if name == "mobilenet":
        return MobileNetV2(classes).without_stem()
    return fold_batch_norms(LateResNet(int(name.removeprefix("resnet")), classes)).without_stem().requires_grad_(True)
