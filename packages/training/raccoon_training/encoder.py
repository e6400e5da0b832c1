"""The edge's encoder: patch convolution, N residual blocks, projection (arXiv 2211.09897, Fig. 3).

    tensor (B,3,H,W) -> patch 8x8/8 -> (B,width,H/8,W/8) -> n blocks -> 1x1 -> latent (B,C,H/8,W/8)

`stops` lists the depths n at which the encoder can end; each has its own projection. The paper's
encoder is the case of one stop: `Encoder(128, 64, 64, stops=(4,))` is its N=4.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import nn

from .blocks import ResidualBlock

FLOOR = 1e-3  # added to the variance of a component of the patches, in units of the tensor squared


class Encoder(nn.Module):
    def __init__(
        self,
        width: int,
        hidden: int,
        latent_channels: int,
        stops: tuple[int, ...],
        block: type[nn.Module] = ResidualBlock,
    ):
        super().__init__()
        self.stops = stops
        self.patch = nn.Conv2d(3, width, 8, stride=8)
        self.blocks = nn.ModuleList(block(width, hidden) for _ in range(max(stops)))
        self.project = nn.ModuleDict({str(n): nn.Conv2d(width, latent_channels, 1) for n in stops})

    def forward(self, x: torch.Tensor, n: int) -> torch.Tensor:
        """tensor (B, 3, H, W) -> latent (B, C, H/8, W/8) after n blocks."""
        return self.project[str(n)](self.trunk(x, n))

    def trunk(self, x: torch.Tensor, n: int) -> torch.Tensor:
        """tensor (B, 3, H, W) -> what the projection of stop n takes: (B, width, H/8, W/8)."""
        x = self.patch(x)
        for block in self.blocks[:n]:
            x = block(x)
        return _end(x, n)

    def trunks(self, x: torch.Tensor, n: torch.Tensor) -> Iterator[tuple[int, torch.Tensor, torch.Tensor]]:
        """Like `trunk`, with a depth of its own for every image: n (B).

        By depth: the depth, the indexes (b) of its images, their trunk (b, width, H/8, W/8).
        """
        x = self.patch(x)
        active = torch.arange(len(x), device=x.device)  # the images that still go deeper
        for depth in range(int(n.max()) + 1):
            if depth > 0:
                x = self.blocks[depth - 1](x)
            ends = n[active] == depth
            if ends.any():
                yield depth, active[ends], _end(x[ends], depth)
                x, active = x[~ends], active[~ends]

    @torch.no_grad()
    def whiten(self, x: torch.Tensor) -> None:
        """Starts the patch convolution at the principal components of the photos x (B, 3, H, W), unit variance.

        Random filters answer mostly to brightness, and learning the fine detail from there takes most
        of a short training run. From the 80th on, components are below FLOOR and more and more what JPEG leaves: at
        unit variance they would be noise, and beyond what an int8 encoder's weights can tell from nothing.
        """
        filters, mean = principal_filters(F.unfold(x, 8, stride=8), self.patch.out_channels)
        self.patch.weight.copy_(filters.reshape(self.patch.weight.shape))
        self.patch.bias.copy_(-filters @ mean)

    def macs(self, height: int, width: int, n: int) -> int:
        """Multiply-accumulates of one image of height x width px at depth n."""
        convs = [self.patch, self.project[str(n)]]
        convs += [m for m in self.blocks[:n].modules() if isinstance(m, nn.Conv2d)]
        return (height // 8) * (width // 8) * sum(conv.weight.numel() for conv in convs)


def principal_filters(patches: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Patches (B, P, h w) -> their first principal components, scaled to unit variance (count, P), and the mean (P)."""
    patches = patches.transpose(1, 2).flatten(0, 1)  # (B h w, P)
    variance, components = torch.linalg.eigh(torch.cov(patches.T))  # ascending
    filters = components.T.flip(0)[:count] / variance.flip(0)[:count, None].add(FLOOR).sqrt()
    return filters, patches.mean(0)


def _end(x: torch.Tensor, n: int) -> torch.Tensor:
    # with no block there is one GELU, so that patch and projection are not one linear map
    return F.gelu(x) if n == 0 else x
