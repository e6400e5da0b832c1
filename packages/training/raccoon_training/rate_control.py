"""Steers every operating point to the bits that it is meant to cost.

With fixed lambdas the rate levels of one set of weights drift together as the loss behind the split
comes in; here a level means a rate.
"""

import torch

from .model import SplitModel

LAMBDA_SPEED = 0.005  # relative change of lambda per image that is 100 % over its target
GAIN_SPEED = 0.01  # the same of the gains, down: fast, where lambda is sure but slow
LAMBDAS = (0.02, 20.0)


class RateControl:
    """Lambda per operating point (P), grown while the point is above its target, in bits per pixel.

    Gains are moved directly as well. Lambda alone would leave a high rate level where the encoder has
    nothing to say yet, and what is never sent is never learned.
    """

    def __init__(self, targets: torch.Tensor):
        self.targets = targets
        self.log_weight = (0.3 * targets**-0.75).log()  # about right for the head start

    def weight(self, point: torch.Tensor) -> torch.Tensor:
        """lambda (B) of operating points point (B)."""
        return self.log_weight[point].exp()

    def share(self, point: torch.Tensor) -> torch.Tensor:
        """How much images at operating points point (B) count in the loss: (B), 1 on average.

        Between lambda * R + D, where the low rates' gradients drown the high rates', and R + D / lambda,
        where it is the other way round.
        """
        share = self.weight(point) ** -0.5
        return share / share.mean()

    @torch.no_grad()
    def update(self, model: SplitModel, point: torch.Tensor, bpp: torch.Tensor) -> None:
        """Learns from images with rates bpp (B) at operating points point (B)."""
        excess = (bpp / self.targets[point] - 1).clamp(-1, 1)
        self.log_weight.index_add_(0, point, LAMBDA_SPEED * excess)
        self.log_weight.clamp_(*torch.tensor(LAMBDAS).log())
        finer = (-GAIN_SPEED * excess)[:, None].expand(-1, model.log_gain.shape[1])
        model.log_gain.index_add_(0, point, finer)
        if model.log_inverse_gain.requires_grad:  # else the decoder's scale is given
            model.log_inverse_gain.index_add_(0, point, -finer)
