"""An encoder whose residual blocks are narrower, or gone, beside the one that it was cut from.

tensor -> patch -> blocks of hidden widths h_1 ... h_n, 0: only the skip -> projection of stop n -> latent
"""

import copy

import torch
from torch import nn

from .encoder import Encoder
from .exit_head import ExitHead
from .knapsack import choose
from .model import SplitModel
from .shrink_costs import BlockCosts


class ShrunkEncoder(nn.Module):
    """The edge's half at stop n: encoder and local exit."""

    def __init__(self, encoder: Encoder, exit_head: ExitHead, n: int):
        super().__init__()
        self.encoder, self.exit_head, self.n = encoder, exit_head, n

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """tensor (B, 3, H, W) -> latent (B, C, h, w), logits (B, K); no gradient from the exit into the encoder."""
        trunk = self.encoder.trunk(x, self.n)
        return self.encoder.project[str(self.n)](trunk), self.exit_head(trunk.detach())


def choose_widths(scores: list[list[torch.Tensor]], costs: BlockCosts, budget: int) -> list[int]:
    """The hidden width of each block, 0 for none, that keep the most importance within `budget` microseconds.

    scores: [block][hidden layer] -> (filters), as `taylor.filter_scores` has them.
    """
    costs.check_budget(budget)
    widths = sorted(costs.block)
    values = [
        [0.0, *(float(sum(layer.topk(width).values.sum() for layer in of_block)) for width in widths)]
        for of_block in scores
    ]
    options = choose(values, [[0, *(costs.block[width] for width in widths)]] * len(scores), budget - costs.fixed)
    return [[0, *widths][option] for option in options]


def top_filters(scores: list[list[torch.Tensor]], widths: list[int]) -> list[list[torch.Tensor]]:
    """The `width` filters of each hidden layer with the highest scores: [block][layer] -> (width), rising."""
    return [
        [layer.topk(width).indices.sort().values for layer in of_block]
        for of_block, width in zip(scores, widths, strict=True)
    ]


def prune(model: SplitModel, n: int, kept: list[list[torch.Tensor]]) -> ShrunkEncoder:
    """A copy of the model's edge half at stop n whose blocks have only the filters kept[block][hidden layer]."""
    encoder = copy.deepcopy(model.encoder)
    encoder.stops = (n,)
    encoder.project = nn.ModuleDict({str(n): encoder.project[str(n)]})
    encoder.blocks = nn.ModuleList(
        prune_block(block, filters) for block, filters in zip(model.encoder.blocks[:n], kept, strict=True)
    )
    return ShrunkEncoder(encoder, copy.deepcopy(model.exits[str(n)]), n)


def prune_block(block: nn.Module, kept: list[torch.Tensor]) -> nn.Module:
    """A copy of a block with only these filters of each hidden layer; without any, nothing is left but the skip."""
    if any(len(filters) == 0 for filters in kept):
        return nn.Identity()
    pruned = copy.deepcopy(block)
    layers = [(name, layer) for name, layer in block.named_children() if isinstance(layer, nn.Conv2d)]
    inputs = torch.arange(layers[0][1].in_channels)
    for (name, layer), outputs in zip(layers, [*kept, torch.arange(layers[-1][1].out_channels)], strict=True):
        setattr(pruned, name, slice_conv(layer, outputs, inputs))
        inputs = outputs
    return pruned


def slice_conv(conv: nn.Conv2d, outputs: torch.Tensor, inputs: torch.Tensor) -> nn.Conv2d:
    """The convolution between these output and input channels alone."""
    part = nn.Conv2d(len(inputs), len(outputs), conv.kernel_size, conv.stride, conv.padding)
    part.weight.data = conv.weight.data[outputs][:, inputs].clone()
    part.bias.data = conv.bias.data[outputs].clone()
    return part.requires_grad_(conv.weight.requires_grad)
