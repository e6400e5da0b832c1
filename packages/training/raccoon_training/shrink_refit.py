"""What is left of a shrunk encoder, fitted by least squares to stand in for what is gone: closed form, no training.

    for each block: the last convolution, so that the trunk behind the block is the whole encoder's
    in the end: the projection, so that the latent is

Each of these is a linear layer with fixed inputs, so each is one ridge regression; block by block, every one also makes
up for what those before it could not. As in channel pruning by reconstruction (He et al., arXiv 1707.06168).
"""

import torch
import torch.nn.functional as F
from torch import nn

from .images import normalise
from .model import SplitModel
from .shrunk_encoder import ShrunkEncoder

RIDGE = 1e-4  # of the inputs' mean square
BATCH = 32


@torch.no_grad()
def refit(shrunk: ShrunkEncoder, model: SplitModel, pixels: torch.Tensor) -> None:
    """Fits the blocks' last layers and the projection on photos (M, 3, H, W)."""
    n = str(shrunk.n)
    whole = torch.cat([model.encoder.patch(normalise(batch)) for batch in pixels.split(BATCH)])
    own = whole
    for block, original in zip(shrunk.encoder.blocks, model.encoder.blocks, strict=False):
        whole = original(whole)
        if not isinstance(block, nn.Identity):
            last = [layer for layer in block.children() if isinstance(layer, nn.Conv2d)][-1]
            inputs = []
            hook = last.register_forward_pre_hook(lambda _layer, given, to=inputs: to.append(given[0]))
            block(own)
            hook.remove()
            fit_conv(last, inputs[0], whole - own)
            own = block(own)
    fit_conv(shrunk.encoder.project[n], own, model.encoder.project[n](whole))


def fit_conv(conv: nn.Conv2d, inputs: torch.Tensor, target: torch.Tensor) -> None:
    """Gives a convolution weights and bias of the least squared error: inputs (M, I, h, w), target (M, O, h, w)."""
    size = conv.weight[0].numel() + 1  # and a one, for the bias
    products = torch.zeros(size, size + conv.out_channels, dtype=torch.double)
    for x, y in zip(inputs.split(BATCH), target.split(BATCH), strict=True):
        patches = (
            F.unfold(x, conv.kernel_size, padding=conv.padding).transpose(1, 2).flatten(0, 1).double()
        )  # (m, I k k)
        rows = F.pad(patches, (0, 1), value=1.0)
        products += rows.T @ torch.cat([rows, y.flatten(2).transpose(1, 2).flatten(0, 1).double()], 1)
    square, right = products[:, :size], products[:, size:]
    ridge = RIDGE * square.diagonal()[:-1].mean() * torch.eye(size, dtype=torch.double)
    ridge[-1, -1] = 0  # the bias is free
    solution = torch.linalg.solve(square + ridge, right)
    conv.weight.copy_(solution[:-1].T.reshape(conv.weight.shape))
    conv.bias.copy_(solution[-1])
