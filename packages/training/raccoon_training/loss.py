"""The single-stage loss over rate, features and predictions (arXiv 2211.09897, section III).

Label-free form: `lambda * bpp + feature MSE + KL to the unsplit network`, without the cross entropy.
Features are compared at the split and behind it (the paper sums four stages), each divided by the
channel's variance in the unsplit network so that no channel or stage dominates by its scale.
"""

import torch
import torch.nn.functional as F

SPLIT_WEIGHT, TAP_WEIGHT, KL_WEIGHT = 3.0, 1.0, 0.5


def feature_error(features: torch.Tensor, target: torch.Tensor, variance: torch.Tensor) -> torch.Tensor:
    """Mean squared error in units of `variance` (C): (B, C, h, w) twice -> (B)."""
    return ((features.float() - target.float()).square().mean((2, 3)) / variance).mean(1)


def prediction_error(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """KL(unsplit || split) in nats: logits (B, K) twice -> (B)."""
    log_p, log_q = F.log_softmax(target.float(), -1), F.log_softmax(logits.float(), -1)
    return (log_p.exp() * (log_p - log_q)).sum(-1)
