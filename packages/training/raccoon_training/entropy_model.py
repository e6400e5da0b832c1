"""The factorized entropy model: one learned density per operating point and latent channel.

Monotone densities of Balle et al. 2018 (arXiv 1802.01436, appendix 6.1): the cumulative is
sigmoid(f(x)) with f a tiny network whose matrices are positive (softplus) and whose gates stay
monotone. Everything here is in units of quantisation steps, that is after the gain.
"""

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn


class FactorizedDensity(nn.Module):
    """Densities for `points` x `channels` scalars. Hidden widths `filters` as in the paper's (3, 3)."""

    def __init__(self, points: int, channels: int, filters: tuple[int, ...] = (3, 3), init_scale: float = 4.0):
        super().__init__()
        widths = (1, *filters, 1)
        scale = init_scale ** (1 / (len(widths) - 1))
        self.matrices, self.biases, self.gates = nn.ParameterList(), nn.ParameterList(), nn.ParameterList()
        for i, (w_in, w_out) in enumerate(pairwise(widths)):
            start = math.log(math.expm1(1 / scale / w_out))
            self.matrices.append(torch.full((points, channels, w_out, w_in), start))
            self.biases.append(torch.rand(points, channels, w_out, 1) - 0.5)
            if i < len(filters):
                self.gates.append(torch.zeros(points, channels, w_out, 1))

    def logit(self, x: torch.Tensor, point: torch.Tensor) -> torch.Tensor:
        """Logit of the cumulative: x (B, C, n) at operating points point (B) -> (B, C, n)."""
        x = x.unsqueeze(2)  # (B, C, 1, n)
        for i, (matrix, bias) in enumerate(zip(self.matrices, self.biases, strict=True)):
            x = F.softplus(matrix)[point] @ x + bias[point]  # (B, C, width, n)
            if i < len(self.gates):
                x = x + torch.tanh(self.gates[i])[point] * torch.tanh(x)
        return x.squeeze(2)

    def likelihood(self, x: torch.Tensor, point: torch.Tensor) -> torch.Tensor:
        """P(x - 1/2 < X < x + 1/2): (B, C, n) -> (B, C, n), at least 1e-9."""
        return self.between(torch.cat([x - 0.5, x + 0.5], -1), point)

    def between(self, ends: torch.Tensor, point: torch.Tensor) -> torch.Tensor:
        """P(lower < X < upper): n lower ends, then n upper ones (B, C, 2n) -> (B, C, n), at least 1e-9."""
        lower, upper = self.logit(ends, point).chunk(2, -1)
        # In the tail where sigmoids differ most exactly. Never 0: a density is often symmetric about its median.
        sign = torch.where(lower + upper > 0, -1.0, 1.0)
        return (torch.sigmoid(sign * upper) - torch.sigmoid(sign * lower)).abs().clamp_min(1e-9)

    @torch.no_grad()
    def median(self) -> torch.Tensor:
        """The value with cumulative 1/2 of each density, by bisection: (points, channels)."""
        points, channels = self.biases[0].shape[:2]
        device = self.biases[0].device
        every = torch.arange(points, device=device)
        low = torch.full((points, channels), -1000.0, device=device)
        high = -low
        for _ in range(40):
            middle = (low + high) / 2
            above = self.logit(middle.unsqueeze(-1), every).squeeze(-1) > 0
            low, high = torch.where(above, low, middle), torch.where(above, middle, high)
        return (low + high) / 2
