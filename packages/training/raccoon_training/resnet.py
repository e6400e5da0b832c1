"""ResNet-18, 34 and 50 in torchvision's layout, cut behind layer1 (He et al. 2015, arXiv 1512.03385).

    tensor (B,3,224,224) -> stem -> features (B,256,56,56) -> classifier -> logits (B,1000)

State dicts of torchvision load as they are: the same names and shapes, and the stride of a bottleneck in its 3x3
convolution. ResNet-18 and 34 have 64 channels at the split.
"""

import copy
import pickle
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

MEAN = (123.675, 116.28, 103.53)  # of 8-bit RGB, torchvision's 0.485, 0.456, 0.406
STD = (58.395, 57.12, 57.375)  # 0.229, 0.224, 0.225


def normalise(pixels: torch.Tensor) -> torch.Tensor:
    """uint8 (B, 3, H, W) -> float32, zero mean and unit deviation on ImageNet: the ResNets' input."""
    mean, std = (torch.tensor(values, device=pixels.device)[:, None, None] for values in (MEAN, STD))
    return (pixels.float() - mean) / std


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a skip."""

    expansion = 1

    def __init__(self, c_in: int, width: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = shortcut(c_in, width, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """1x1 down, 3x3, 1x1 up to four times the width, around a skip."""

    expansion = 4

    def __init__(self, c_in: int, width: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = shortcut(c_in, 4 * width, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return F.relu(self.bn3(self.conv3(y)) + (x if self.downsample is None else self.downsample(x)))


def shortcut(c_in: int, c_out: int, stride: int) -> nn.Sequential | None:
    """The projection of a skip whose ends differ in shape."""
    if stride == 1 and c_in == c_out:
        return None
    return nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out))


def stage(block: type[BasicBlock] | type[Bottleneck], c_in: int, width: int, count: int, stride: int) -> nn.Sequential:
    """`count` blocks, the stride in the first."""
    blocks = [block(c_in if i == 0 else width * block.expansion, width, stride if i == 0 else 1) for i in range(count)]
    return nn.Sequential(*blocks)


# depth -> (block, blocks in layer1 ... layer4), Table 1 of the paper
DEPTHS = {18: (BasicBlock, (2, 2, 2, 2)), 34: (BasicBlock, (3, 4, 6, 3)), 50: (Bottleneck, (3, 4, 6, 3))}


class ResNetClassifier(nn.Module):
    """The truncated ResNet: what stays of it behind the split, layer2 ... layer4 and fc."""

    def __init__(self, depth: int = 50, classes: int = 1000):
        super().__init__()
        if depth not in DEPTHS:
            raise ValueError(f"no ResNet-{depth} here; there are {', '.join(map(str, DEPTHS))}")
        block, counts = DEPTHS[depth]
        self.depth, self.feature_channels = depth, 64 * block.expansion
        self.layer2 = stage(block, self.feature_channels, 128, counts[1], 2)
        self.layer3 = stage(block, 128 * block.expansion, 256, counts[2], 2)
        self.layer4 = stage(block, 256 * block.expansion, 512, counts[3], 2)
        self.fc = nn.Linear(512 * block.expansion, classes)
        initialise(self.layer2, self.layer3, self.layer4)

    def tail(self, features: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """features (B, 256, 56, 56) -> logits (B, K), and what layer2, layer3 and layer4 make of them."""
        layer2 = self.layer2(features)
        layer3 = self.layer3(layer2)
        layer4 = self.layer4(layer3)
        return self.fc(layer4.mean((2, 3))), [layer2, layer3, layer4]

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.tail(features)[0]


class ResNet(ResNetClassifier):
    """The unsplit network: the classifier with the stem in front of it."""

    def __init__(self, depth: int = 50, classes: int = 1000):
        super().__init__(depth, classes)
        block, counts = DEPTHS[depth]
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = stage(block, 64, 64, counts[0], 1)
        initialise(self.conv1, self.layer1)

    def stem(self, x: torch.Tensor) -> torch.Tensor:
        """tensor (B, 3, 224, 224) -> features (B, 256, 56, 56)."""
        return self.layer1(F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, stride=2, padding=1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.tail(self.stem(x))[0]

    def classifier(self) -> ResNetClassifier:
        """A copy of the part behind the split, to be trained beside the frozen whole."""
        classifier = ResNetClassifier(self.depth, self.fc.out_features)
        classifier.load_state_dict({name: w for name, w in self.state_dict().items() if is_behind_split(name)})
        return classifier


def is_behind_split(name: str) -> bool:
    """Whether a weight of this name belongs to the classifier."""
    return name.split(".", 1)[0] in ("layer2", "layer3", "layer4", "fc")


def initialise(*parts: nn.Module) -> None:
    """For training from scratch: deviations that keep the signal's through ReLUs (He et al. 2015, arXiv 1502.01852)."""
    for part in parts:
        for module in part.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """The state dict in a .safetensors or PyTorch file, alone or under `model` or `state_dict`, without DDP's prefix.

    Raises ValueError where there is no file, where it is damaged, or holds anything else.
    """
    if not path.is_file():
        raise ValueError(f"there is no file {path}: give the weights of the network to split")
    if path.suffix == ".safetensors":
        try:
            state = load_file(path)
        except SafetensorError as error:
            raise ValueError(f"{path} is no safetensors file: {error}") from error
    else:
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, EOFError, RuntimeError) as error:
            reason = str(error).splitlines()[0] if str(error) else "it is empty"
            raise ValueError(
                f"{path} cannot be read as weights alone ({reason}); save only its state dict: "
                "torch.save({'model': model.state_dict()}, path)"
            ) from error
        for wrapper in ("model", "state_dict"):
            if isinstance(state, Mapping) and isinstance(state.get(wrapper), Mapping):
                state = state[wrapper]
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ValueError(f"{path} has no state dict: tensors by name, alone or under 'model' or 'state_dict'")
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}


def depth_of(state: Mapping[str, torch.Tensor]) -> int:
    """Which ResNet a state dict is of, whole or truncated, by its blocks."""
    counts = tuple(sum(f"layer{n}.{i}.conv1.weight" in state for i in range(99)) for n in (2, 3, 4))
    block = Bottleneck if "layer2.0.conv3.weight" in state else BasicBlock
    for depth, (kind, blocks) in DEPTHS.items():
        if kind is block and blocks[1:] == counts:
            return depth
    raise ValueError(
        f"no ResNet-18, 34 or 50 in torchvision's layout: {counts} blocks of {block.__name__} in layer2 ... layer4"
    )


def load_exactly(module: nn.Module, state: Mapping[str, torch.Tensor], what: str) -> None:
    """Loads every weight; names the first one that is missing, unknown or of another shape."""
    own = module.state_dict()
    # files from before PyTorch 0.4.1 do not count the batches
    expected = {name for name in own if not name.endswith("num_batches_tracked")}
    missing, unknown = sorted(expected - state.keys()), sorted(state.keys() - own.keys())
    if missing or unknown:
        first = f"has no {missing[0]}" if missing else f"has {unknown[0]}, which does not belong there"
        raise ValueError(f"{what}: {first} ({len(missing)} names missing, {len(unknown)} unknown)")
    for name, tensor in state.items():
        if tensor.shape != own[name].shape:
            raise ValueError(f"{what}: {name} is {tuple(tensor.shape)} where {tuple(own[name].shape)} belongs")
    module.load_state_dict({name: tensor.to(own[name].dtype) for name, tensor in state.items()}, strict=False)


def load_resnet(weights: Path, kind: type[ResNet] = ResNet) -> ResNet:
    """The frozen network with torchvision's weights; its depth and classes are the file's."""
    state = read_weights(weights)
    try:
        depth = depth_of(state)
    except ValueError as error:
        raise ValueError(f"{weights}: {error}") from error
    network = kind(depth, state["fc.weight"].shape[0] if "fc.weight" in state else 1000)
    load_exactly(network, state, f"{weights} is no whole ResNet-{depth}")
    return network.eval().requires_grad_(False)


def fold_batch_norms(network: nn.Module) -> nn.Module:
    """A copy for inference with every BatchNorm folded into the convolution in front of it."""
    folded = copy.deepcopy(network).eval()
    for parent in list(folded.modules()):
        for (conv_name, conv), (norm_name, norm) in pairwise(list(parent.named_children())):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(parent, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(parent, norm_name, nn.Identity())
    return folded.requires_grad_(False)
