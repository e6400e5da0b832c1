"""The paper's models, one network per (N, lambda), and the recipe that trains them (arXiv 2211.09897).

    tensor (B,3,224,224) -> encoder -> latent (B,64,28,28) -> bottleneck -> quantised -> decoder
        -> features (B,256,56,56) -> classifier -> logits (B,1000)

Widths, optimiser and schedule as in the authors' release. What they leave out and we do: the loss of the entropy
model's quantiles is minimised, so medians are learned, and coding tables reach as far as the density does.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn

from .blocks import ResidualBlock
from .decoder import LightDecoder, PaperDecoder
from .entropy_model import FactorizedDensity
from .loss import PAPER, LossTerms, LossWeights, Prediction, single_stage_loss
from .mobilenet import MobileNetV2
from .noise import Noise
from .resnet import ResNet, ResNetClassifier

TAIL_MASS = 1e-9  # the outer quantiles leave this much of the density outside, half of it on each side


class PatchEncoder(nn.Sequential):
    """Patch convolution, N residual blocks with half the width inside, 1x1 to the latent (Fig. 3 of the paper).

    tensor (B, 3, H, W) -> latent (B, latent_channels, H/patch, W/patch). Without blocks there is one GELU, so that
    patch and projection are not one linear map.
    """

    def __init__(self, blocks: int, patch: int = 8, width: int = 128, latent_channels: int = 64):
        super().__init__(
            nn.Conv2d(3, width, patch, stride=patch),
            *(ResidualBlock(width, width // 2) for _ in range(blocks)),
            *([] if blocks else [nn.GELU()]),
            nn.Conv2d(width, latent_channels, 1),
        )
        self.patch, self.blocks, self.latent_channels = patch, blocks, latent_channels

    def macs(self, height: int, width: int) -> int:
        """Multiply-accumulates of one image of height x width px."""
        convs = (m for m in self.modules() if isinstance(m, nn.Conv2d))
        return (height // self.patch) * (width // self.patch) * sum(conv.weight.numel() for conv in convs)


class EntropyBottleneck(nn.Module):
    """The factorized entropy model: per channel a learned density and three learned quantiles of it.

    Balle et al. 2018 (arXiv 1802.01436, appendix 6.1). Shape and start of the densities are CompressAI's, so that its
    parameters can be loaded. The middle quantile is the median, the centre of rounding; the outer ones mark the
    symbols that a coding table needs.
    """

    def __init__(
        self,
        channels: int,
        filters: tuple[int, ...] = (3, 3, 3, 3),
        init_scale: float = 10.0,
        *,
        positions: int = 1,
    ):
        """positions: training takes the rate from one in so many, drawn anew each step: unbiased, and cheaper."""
        super().__init__()
        self.positions = positions
        self.density = FactorizedDensity(1, channels, filters, init_scale)
        self.quantiles = nn.Parameter(torch.tensor([-init_scale, 0.0, init_scale]).repeat(channels, 1))  # (C, 3)

    @property
    def median(self) -> torch.Tensor:
        """(1, C): the one operating point's."""
        return self.quantiles[:, 1].detach()[None]

    def forward(self, latent: torch.Tensor, noise: Noise | None) -> tuple[torch.Tensor, torch.Tensor]:
        """latent (B, C, h, w) -> quantised latent and bits per image (B).

        In training uniform noise stands for rounding, in the rate and for the decoder; in evaluation the latent is
        rounded around the median.
        """
        with torch.autocast(latent.device.type, enabled=False):  # a probability in bfloat16 has two digits
            latent = latent.float()
            if not self.training:
                centre = self.median[0, :, None, None]
                quantised = torch.round(latent - centre) + centre
                likelihood = self.density.likelihood(quantised.flatten(2), self._point(len(latent)))
                return quantised, -likelihood.log2().sum((1, 2))
            quantised = latent + noise(latent.shape[1:]).to(latent.device)
            return quantised, self._bits(quantised, noise)

    @torch.no_grad()
    def coded_bits(self, latent: torch.Tensor, noise: Noise) -> torch.Tensor:
        """Bits per image (B) of latent (B, C, h, w) once it is rounded, in training.

        Where most values are far below a step, these are a fraction of those that the rate's gradient is taken from.
        """
        centre = self.density.median()[0, :, None, None]
        return self._bits(torch.round(latent.float() - centre) + centre, noise)

    def _bits(self, quantised: torch.Tensor, noise: Noise) -> torch.Tensor:
        """Bits per image (B) of (B, C, h, w), from some of the positions."""
        with torch.autocast(quantised.device.type, enabled=False):
            counted = quantised.flatten(2)
            if self.positions > 1:
                count = counted.shape[2]
                counted = counted[..., noise.order(count)[: count // self.positions].to(quantised.device)]
            likelihood = self.density.likelihood(counted, self._point(len(quantised)))
            return -likelihood.log2().mean((1, 2)) * quantised[0].numel()

    @torch.no_grad()
    def settle(self) -> None:
        """Puts the middle quantiles where they belong: a short run does not get them there by small steps."""
        self.quantiles[:, 1] = self.density.median()[0]

    def quantile_loss(self) -> torch.Tensor:
        """Distance of the quantiles' logits from where they belong, summed: zero when all are right.

        The density is taken as given: only the quantiles get a gradient.
        """
        density = copy.deepcopy(self.density).requires_grad_(False)
        outer = math.log(2 / TAIL_MASS - 1)
        target = torch.tensor([-outer, 0.0, outer], device=self.quantiles.device)
        with torch.autocast(self.quantiles.device.type, enabled=False):
            return (density.logit(self.quantiles[None], self._point(1)) - target).abs().sum()

    def _point(self, count: int) -> torch.Tensor:
        return torch.zeros(count, dtype=torch.long, device=self.quantiles.device)


class PaperPass(NamedTuple):
    """What a pass of a `PaperModel` gives: its prediction, bits per image (B) and the quantile loss.

    coded_bits (B): the same of rounded values, without gradient.
    """

    prediction: Prediction
    bits: torch.Tensor
    coded_bits: torch.Tensor
    quantile_loss: torch.Tensor


class PaperModel(nn.Module):
    """Encoder, entropy model, decoder and classifier of one (N, lambda)."""

    PARTS = ("encoder", "bottleneck", "decoder", "classifier")

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        classifier: ResNetClassifier | MobileNetV2,
        bottleneck: EntropyBottleneck | None = None,
    ):
        super().__init__()
        self.encoder = encoder
        self.bottleneck = bottleneck or EntropyBottleneck(encoder.latent_channels)
        self.decoder = decoder
        self.classifier = classifier
        self.frozen: tuple[str, ...] = ()
        self.front = False  # without what is behind the split

    def freeze(self, *parts: str) -> None:
        """Keeps these parts as they are: no gradients, BatchNorm and entropy model as in evaluation. The others train.

        Behind an entropy model that is frozen the decoder sees what it will see in service, rounded latents.
        """
        unknown = set(parts) - set(self.PARTS)
        if unknown:
            raise ValueError(f"a model has no part {', '.join(sorted(unknown))}; it has {', '.join(self.PARTS)}")
        self.frozen = parts
        for part in self.PARTS:
            getattr(self, part).requires_grad_(part not in parts)
        self.train(self.training)

    def train(self, mode: bool = True) -> "PaperModel":
        super().train(mode)
        for part in self.frozen:
            getattr(self, part).eval()
        return self

    def forward(self, x: torch.Tensor, noise: Noise | None = None) -> PaperPass:
        """tensor (B, 3, H, W), and in training the noise that stands for rounding."""
        latent = self.encoder(x)
        quantised, bits = self.bottleneck(latent, noise)
        coded_bits = self.bottleneck.coded_bits(latent, noise) if self.bottleneck.training else bits
        features = self.decoder(quantised)
        prediction = Prediction([features]) if self.front else predict(self.classifier, features)
        return PaperPass(prediction, bits, coded_bits, self.bottleneck.quantile_loss())


def paper_model(
    blocks: int,
    classifier: ResNetClassifier,
    decoder: type[PaperDecoder] | type[LightDecoder] = PaperDecoder,
    width: int = 128,
    latent_channels: int = 64,
) -> PaperModel:
    """The paper's own configuration with N = `blocks`, published for N in {0, 4, 8} with a ResNet-50."""
    encoder = PatchEncoder(blocks, width=width, latent_channels=latent_channels)
    return PaperModel(encoder, decoder(latent_channels, classifier.feature_channels), classifier)


def predict(classifier: ResNetClassifier | MobileNetV2, features: torch.Tensor) -> Prediction:
    """Features at the split and behind layer2, layer3 and layer4, and logits: the paper's four feature terms and KL.

    MobileNetV2 has two taps behind its split.
    """
    logits, behind = classifier.tail(features)
    return Prediction([features, *behind], logits)


@dataclass(frozen=True)
class Stage:
    """A share of the epochs: which parts stay as they are, and what the loss weighs beside lambda * R.

    front: nothing behind the split is run.
    """

    frozen: tuple[str, ...] = ()
    weights: LossWeights = PAPER
    front: bool = False


JOINT = (Stage(),)
CLASSIFIER_FIXED = (Stage(frozen=("classifier",)),)  # one cloud classifier for many encoders
HEAD_START = Stage(frozen=("classifier",), front=True)


LAMBDA_SPEED = 0.01  # relative change of lambda per step that is 100 % over the rate target
LAMBDAS = (0.002, 50.0)


def first_lambda(rate_target: float) -> float:
    """Where the search for a rate's lambda begins; rate_target in bits per pixel."""
    if not 0 < rate_target < 10:
        raise ValueError(f"rate target {rate_target}: bits per pixel, above 0")
    return 0.03 * rate_target**-0.75


def check_rate_weight(rate_weight: float) -> None:
    """Raises ValueError where lambda rewards bits, or does not count them."""
    if not rate_weight > 0:
        raise ValueError(f"lambda must be above 0, not {rate_weight}; the paper has 0.08 to 5.12")


@dataclass(frozen=True)
class Recipe:
    """Optimiser and schedule of the authors' release, for ImageNet-1k."""

    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 1e-4  # of the classifier's weights; not of its BatchNorms and biases, nor of the bottleneck
    final: float = 0.01  # share of the learning rate that the last epoch has
    quantile_lr: float = 1e-3
    epochs: float = 20
    batch: int = 384
    head_start: float = 0.0  # share of the epochs

    def optimisers(self, model: PaperModel) -> tuple[torch.optim.SGD, torch.optim.Adam]:
        """SGD for the network and Adam for the quantiles, whose loss is in units of its own."""
        quantiles = model.bottleneck.quantiles
        decayed = [p for p in model.classifier.parameters() if p.ndim > 1]
        apart = {id(p) for p in (*decayed, quantiles)}
        others = [p for p in model.parameters() if id(p) not in apart]
        groups = [{"params": others, "weight_decay": 0.0}, {"params": decayed, "weight_decay": self.weight_decay}]
        network = torch.optim.SGD(groups, lr=self.lr, momentum=self.momentum)
        return network, torch.optim.Adam([quantiles], lr=self.quantile_lr)

    def learning_rate(self, epoch: float, stages: int = 1) -> float:
        """Cosine from `lr` in the first epoch to `final` of it in the last, constant within an epoch."""
        progress = min(1.0, int(epoch) / max(1, self.epochs - 1))
        return self.lr * (self.final + (1 - self.final) * (1 + math.cos(math.pi * progress)) / 2)

    def in_head_start(self, epoch: float) -> bool:
        """Whether the split alone is learned from."""
        return epoch < self.head_start * self.epochs

    def tail(self, epoch: float) -> float:
        """What counts of the loss behind the split."""
        return 1.0


@dataclass(frozen=True)
class ShortRecipe(Recipe):
    """The universal model's optimiser and schedule, for runs of a few epochs: what the two are compared with."""

    lr: float = 4e-3
    head_start: float = 0.25  # gradients from behind the split, before there are features, teach nothing
    density_speed: float = 3.0  # the density has to follow the latents
    classifier_speed: float = 0.1  # it has learned already
    whole_speed: float = 0.25  # gradients from behind the split are steeper and noisier
    entry: float = 0.15  # share of the epochs over which they come in, after a head start
    warmup: float = 0.05
    cooldown: float = 0.35

    def optimisers(self, model: PaperModel) -> tuple[torch.optim.AdamW, torch.optim.Adam]:
        """AdamW for the network and Adam for the quantiles."""
        density, behind = list(model.bottleneck.density.parameters()), list(model.classifier.parameters())
        quantiles = model.bottleneck.quantiles
        apart = {id(p) for p in (*density, *behind, quantiles)}
        groups = [
            {"params": [p for p in model.parameters() if id(p) not in apart], "speed": 1.0},
            {"params": density, "weight_decay": 0.0, "speed": self.density_speed},
            {"params": behind, "speed": self.classifier_speed},
        ]
        network = torch.optim.AdamW(groups, lr=self.lr, betas=(0.9, 0.99), weight_decay=self.weight_decay)
        return network, torch.optim.Adam([quantiles], lr=self.quantile_lr)

    def learning_rate(self, epoch: float, stages: int = 1) -> float:
        """Linear warm-up, constant, linear to zero in each stage; slower on the whole loss, and from stage to stage."""
        whole = self.epochs / stages
        stage, share = int(epoch / whole), epoch % whole / whole
        lr = self.lr * (1 if self.in_head_start(epoch) else self.whole_speed ** (1 + stage))
        return lr * min(1.0, 0.02 + share / self.warmup, (1 - share) / self.cooldown)

    def tail(self, epoch: float) -> float:
        """Rises from 0 to 1 after a head start."""
        return min(1.0, max(0.0, epoch / self.epochs - self.head_start) / self.entry) if self.head_start else 1.0


class PaperStep(NamedTuple):
    """What a step of `PaperTraining` says of its images, (B) each, and the logits (B, K); without gradients.

    bpp: of rounded values. The head start has no logits.
    """

    terms: LossTerms
    bpp: torch.Tensor
    logits: torch.Tensor | None


class PaperTraining:
    """A model, the frozen network that it learns from, and its optimisers: everything of a run but data and files.

    for epoch in range(recipe.epochs): training.start_epoch(epoch); for every batch: training.step(x, labels, noise)
    """

    def __init__(
        self,
        model: PaperModel,
        unsplit: ResNet | MobileNetV2 | None,
        rate_weight: float,
        stages: Sequence[Stage] = JOINT,
        recipe: Recipe | None = None,
        *,
        bf16: bool = False,
        clip: float | None = None,
        variances: Sequence[torch.Tensor] | None = None,
    ):
        """rate_weight: lambda, per bit per pixel. unsplit: in evaluation mode, as `load_resnet` gives it.

        Without an unsplit network (from scratch) rate and labels alone teach. clip: largest norm of the gradient.
        variances: (C) of each of the unsplit network's features, the units of their errors; the paper has none.
        """
        check_rate_weight(rate_weight)
        if unsplit is not None and unsplit.feature_channels != model.classifier.feature_channels:
            raise ValueError(f"a ResNet-{unsplit.depth} cannot teach a ResNet-{model.classifier.depth}: other features")
        self.model, self.unsplit, self.rate_weight, self.stages = model, unsplit, rate_weight, tuple(stages)
        self.recipe, self.variances = recipe or Recipe(), variances
        if not 0 <= self.recipe.head_start < 1:
            raise ValueError(f"--head-start {self.recipe.head_start}: a share of the epochs, from 0 and below 1")
        if self.recipe.head_start and unsplit is None:
            raise ValueError("--head-start is on an unsplit network's features: without --weights it is 0")
        self.bf16, self.clip = bf16, math.inf if clip is None else clip
        self.optimisers = self.recipe.optimisers(model)
        self.module: nn.Module = model  # what `step` calls; a run on several devices wraps it
        self.stage: Stage | None = None
        self.start_epoch(0)

    def start_epoch(self, epoch: float) -> bool:
        """Sets the learning rate and which parts train, also within an epoch; stages have equal shares of the epochs.

        True when a stage begins: then `module` has to be wrapped anew, because DDP remembers what had gradients.
        """
        self.rate = self.recipe.learning_rate(epoch, len(self.stages))
        for group in self.optimisers[0].param_groups:
            group["lr"] = self.rate * group.get("speed", 1.0)
        stage = self.stages[min(len(self.stages) - 1, int(epoch * len(self.stages) / self.recipe.epochs))]
        if self.recipe.in_head_start(epoch):
            stage = HEAD_START
        self.tail = self.recipe.tail(epoch)
        begins, self.stage = stage is not self.stage, stage
        self.model.freeze(*stage.frozen)
        self.model.front = stage.front
        self.model.train()
        return begins

    def step(
        self, x: torch.Tensor, labels: torch.Tensor | None, noise: Noise, target: Prediction | None = None
    ) -> PaperStep:
        """One step on tensor (B, 3, H, W) and labels (B); target: what the unsplit network said of it, if known.

        Without labels the cross entropy is left out. Raises FloatingPointError before a step that is not finite.
        """
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.bf16):
            passed = self.module(x, noise)
            target = self._target(x, passed) if target is None else target
        pixels = x.shape[2] * x.shape[3]
        terms = single_stage_loss(
            self.rate_weight * passed.bits / pixels, passed.prediction, target, self.stage.weights,
            variances=self.variances, labels=labels, tail=self.tail,
        )  # fmt: skip
        loss = terms.total.mean()
        for optimiser in self.optimisers:
            optimiser.zero_grad(set_to_none=True)
        # One backward pass: the quantile loss reaches the quantiles and nothing else, and nothing else reaches them.
        (loss + passed.quantile_loss).backward()
        own = [p for p in self.model.parameters() if p is not self.model.bottleneck.quantiles]
        if not torch.isfinite(nn.utils.clip_grad_norm_(own, self.clip)):
            raise FloatingPointError(
                "the gradient is not finite; lower the learning rate or clip it, and resume the last checkpoint"
            )
        for optimiser in self.optimisers:
            optimiser.step()
        terms = LossTerms(*(term.detach() for term in terms))
        logits = passed.prediction.logits
        return PaperStep(terms, passed.coded_bits.detach() / pixels, None if logits is None else logits.detach())

    @torch.no_grad()
    def _target(self, x: torch.Tensor, passed: PaperPass) -> Prediction:
        """What the unsplit network says of x (B, 3, H, W)."""
        if self.unsplit is None:  # compared with itself, its errors are zero
            features, logits = passed.prediction
            return Prediction([f.detach() for f in features], logits.detach())
        features = self.unsplit.stem(x)
        return Prediction([features]) if self.stage.front else predict(self.unsplit, features)

    def steer(self, bpp: float, rate_target: float) -> None:
        """Moves lambda, after a step at `bpp`, while the encoder can still follow."""
        if "encoder" not in self.stage.frozen:
            excess = min(1.0, max(-1.0, bpp / rate_target - 1))
            low, high = LAMBDAS
            self.rate_weight = min(high, max(low, self.rate_weight * math.exp(LAMBDA_SPEED * excess)))

    def state_dict(self) -> dict[str, Any]:
        """What a run needs to go on: weights, lambda, and the optimisers' momenta."""
        return {
            "model": self.model.state_dict(),
            "rate_weight": self.rate_weight,
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.rate_weight = state.get("rate_weight", self.rate_weight)  # older checkpoints have it in their config alone
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
