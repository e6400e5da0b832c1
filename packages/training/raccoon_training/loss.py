"""The single-stage loss over rate, features and predictions (arXiv 2211.09897, section III).

    L = lambda * R + feature errors + 0.5 * (KL + CE)

R is in bits per pixel. The features are those at the split and behind it, against the unsplit network's (the paper sums
four stages of a ResNet-50); KL is against the unsplit network's prediction, CE against labels. Raccoon's own training
is label-free: the same sum without the CE, with more weight at the split and on the KL (`LABEL_FREE`), and each feature
error divided by the channel's variance in the unsplit network, so that no channel or stage dominates by its scale.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F


@dataclass(frozen=True)
class LossWeights:
    """What the terms count beside lambda * R: feature errors at the split and behind it, and KL and CE."""

    split: float = 1.0
    taps: float = 1.0
    prediction: float = 0.5


PAPER = LossWeights()
LABEL_FREE = LossWeights(split=2.0, prediction=1.0)


class Prediction(NamedTuple):
    """What a network makes of a batch: the features (B, C, h, w) at the split, then behind it; logits (B, K).

    Without logits only the front was computed, and the terms behind the split are zero.
    """

    features: Sequence[torch.Tensor]
    logits: torch.Tensor | None = None


class LossTerms(NamedTuple):
    """Per image, (B) each. `total` is weighted and has the rate, the others are not."""

    total: torch.Tensor
    split: torch.Tensor
    taps: torch.Tensor
    kl: torch.Tensor
    ce: torch.Tensor


def feature_error(features: torch.Tensor, target: torch.Tensor, variance: torch.Tensor | None = None) -> torch.Tensor:
    """Mean squared error, in units of `variance` (C) if given: (B, C, h, w) twice -> (B)."""
    error = (features.float() - target.float()).square().mean((2, 3))  # (B, C)
    return (error if variance is None else error / variance).mean(1)


def prediction_error(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """KL(unsplit || split) in nats: logits (B, K) twice -> (B)."""
    log_p, log_q = F.log_softmax(target.float(), -1), F.log_softmax(logits.float(), -1)
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def single_stage_loss(
    rate: torch.Tensor,
    split_network: Prediction,
    unsplit_network: Prediction,
    weights: LossWeights = PAPER,
    *,
    variances: Sequence[torch.Tensor] | None = None,
    labels: torch.Tensor | None = None,
    tail: float = 1.0,
) -> LossTerms:
    """The loss of every image. The paper's with the defaults and labels; label-free without labels.

    rate: lambda * R (B). variances: (C) for each of the features. labels: (B) int64. tail: weight of all that comes
    from behind the split, for a slow start.
    """
    count = len(split_network.features)
    split, *behind = (
        feature_error(features, target, variance)
        for features, target, variance in zip(
            split_network.features, unsplit_network.features[:count], (variances or [None] * count)[:count], strict=True
        )
    )
    taps, kl, ce = sum(behind, torch.zeros_like(split)), torch.zeros_like(split), torch.zeros_like(split)
    if split_network.logits is not None:
        kl = prediction_error(split_network.logits, unsplit_network.logits)
        if labels is not None:
            ce = F.cross_entropy(split_network.logits.float(), labels, reduction="none")
    total = weights.split * split + rate + tail * (weights.taps * taps + weights.prediction * (kl + ce))
    return LossTerms(total, split, taps, kl, ce)
