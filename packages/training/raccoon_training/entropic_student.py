"""The baseline, Entropic Student (arXiv 2108.11898), and the steps from it to the paper's model (its Table I).

    tensor (B,3,224,224) -> convolutions with GDN -> latent (B,24,55,55) -> inverse GDN -> features (B,256,56,56)

It is trained in two stages: encoder, entropy model and decoder with the classifier frozen, on rate and features;
then decoder and classifier with the encoder frozen, on predictions. A keeps the networks and trains in a single stage,
B takes patches and residual blocks at a quarter of the image's size, C at an eighth: the paper's model with N = 4.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrize

from .loss import LossWeights
from .paper import JOINT, PaperModel, PatchEncoder, Stage, paper_model
from .resnet import ResNetClassifier

PEDESTAL = 2.0**-36  # keeps the derivative of the square root away from zero


class LowerBound(torch.autograd.Function):
    """max(x, bound), whose gradient still lets a value below the bound come back up."""

    @staticmethod
    def forward(ctx, x: torch.Tensor, bound: float) -> torch.Tensor:
        ctx.save_for_backward(x)
        ctx.bound = bound
        return x.clamp_min(bound)

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        (x,) = ctx.saved_tensors
        return gradient * ((x >= ctx.bound) | (gradient < 0)), None


class Positive(nn.Module):
    """Values of at least `minimum`, learned as their square roots: the parametrisation of Balle et al.'s GDN."""

    def __init__(self, minimum: float):
        super().__init__()
        self.bound = (minimum + PEDESTAL) ** 0.5

    def forward(self, root: torch.Tensor) -> torch.Tensor:
        return LowerBound.apply(root, self.bound).square() - PEDESTAL

    def right_inverse(self, value: torch.Tensor) -> torch.Tensor:
        return (value + PEDESTAL).clamp_min(PEDESTAL).sqrt()


class GDN(nn.Module):
    """Generalised divisive normalisation, y_i = x_i / (beta_i + sum_j gamma_ij |x_j|), or times it if `inverse`.

    The simplified form of Johnston et al. 2019 (arXiv 1912.08771), without squares and roots, as in Entropic Student.
    """

    def __init__(self, channels: int, *, inverse: bool = False):
        super().__init__()
        self.inverse = inverse
        self.beta = nn.Parameter(torch.ones(channels))
        self.gamma = nn.Parameter(0.1 * torch.eye(channels)[:, :, None, None])  # (C, C, 1, 1)
        parametrize.register_parametrization(self, "beta", Positive(1e-6))
        parametrize.register_parametrization(self, "gamma", Positive(0.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        norm = F.conv2d(x.abs(), self.gamma, self.beta)
        return x * norm if self.inverse else x / norm

    def fold(self) -> None:
        """Keeps the values in place of their square roots: for inference and export."""
        for name in ("beta", "gamma"):
            parametrize.remove_parametrizations(self, name, leave_parametrized=True)


class StudentEncoder(nn.Sequential):
    """tensor (B, 3, H, W) -> latent (B, C, H/4 - 1, W/4 - 1)."""

    def __init__(self, latent_channels: int = 24):
        super().__init__(
            nn.Conv2d(3, 4 * latent_channels, 5, stride=2, padding=2, bias=False),
            GDN(4 * latent_channels),
            nn.Conv2d(4 * latent_channels, 2 * latent_channels, 5, stride=2, padding=2, bias=False),
            GDN(2 * latent_channels),
            nn.Conv2d(2 * latent_channels, latent_channels, 2, bias=False),
        )
        self.blocks, self.latent_channels = 0, latent_channels


class StudentDecoder(nn.Sequential):
    """latent (B, C, h, w) -> features (B, F, h + 1, w + 1), or half of that with stride 2.

    widths: inside; by default twice the features' channels, then as many.
    """

    def __init__(
        self,
        latent_channels: int = 24,
        feature_channels: int = 256,
        widths: tuple[int, int] | None = None,
        *,
        stride: int = 1,
    ):
        first, second = widths or (2 * feature_channels, feature_channels)
        super().__init__(
            nn.Conv2d(latent_channels, first, 2, padding=1, bias=False),
            GDN(first, inverse=True),
            nn.Conv2d(first, second, 2, bias=False),
            GDN(second, inverse=True),
            nn.Conv2d(second, feature_channels, 2, stride, padding=1, bias=False),
        )


class QuarterDecoder(nn.Sequential):
    """The decoder of configuration B, whose latent already has the features' size: (B, C, h, w) -> (B, F, h, w)."""

    def __init__(self, latent_channels: int = 24, feature_channels: int = 256):
        super().__init__(
            nn.Conv2d(latent_channels, 512, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(512, 256, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(256, feature_channels, 1),
        )


TWO_STAGES = (
    Stage(frozen=("classifier",), weights=LossWeights(split=1, taps=1, prediction=0)),
    Stage(frozen=("encoder", "bottleneck"), weights=LossWeights(split=0, taps=0, prediction=0.5)),
)
# one cloud classifier for many encoders: the second stage has the decoder alone
TWO_STAGES_FIXED = (TWO_STAGES[0], Stage(frozen=("encoder", "bottleneck", "classifier"), weights=TWO_STAGES[1].weights))


@dataclass(frozen=True)
class Configuration:
    """A row of Table I. `flops` are the encoder's as printed there: multiply-accumulates and biases, without GDN's."""

    name: str
    stages: tuple[Stage, ...]
    flops: float

    def model(self, classifier: ResNetClassifier, channels: int = 24) -> PaperModel:
        """A model to train, with this classifier behind it. channels: of Entropic Student's latent."""
        features = classifier.feature_channels
        if self.name == "B":
            return PaperModel(PatchEncoder(3, 4, 72, 24), QuarterDecoder(24, features), classifier)
        if self.name == "C":
            return paper_model(4, classifier)
        return PaperModel(StudentEncoder(channels), StudentDecoder(channels, features), classifier)


# The widths of B are those of the authors' repository, `s4res`: 3 blocks of 72 channels give the 0.457 G of the table.
TABLE_I = {
    row.name: row
    for row in (
        Configuration("ES", TWO_STAGES, 0.466e9),
        Configuration("A", JOINT, 0.466e9),
        Configuration("B", JOINT, 0.457e9),
        Configuration("C", JOINT, 0.489e9),
    )
}
