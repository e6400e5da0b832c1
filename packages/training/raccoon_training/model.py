"""The universal model: one set of weights for every operating point p = (n blocks, rate level q).

    tensor -> encoder(n) -> latent -> gain[p], round -> symbols -> inverse gain[p] -> decoder(p) -> features
              trunk(n) -> exit logits

A per-channel gain before rounding and a learned inverse after it set the rate (gain units, Cui et
al., CVPR 2021). A stop n has one learned density per latent channel; each of its rate levels reads
it in steps of its own gain. Channels are ordered by importance: prefixes are trained too.
"""

from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

import torch
from torch import nn

from .blocks import BottleneckBlock
from .decoder import CONDITIONS, Decoder
from .encoder import Encoder
from .entropy_model import FactorizedDensity
from .exit_head import ExitHead
from .images import SIZE
from .networks import SplitNetwork, build_tail
from .noise import Noise
from .tables import REACH

RATE_SHARE = 4  # training takes the rate from one position in so many: unbiased, and much cheaper


# widths beside a ResNet: the deepest encoder costs 0.36 GMAC of ResNet-18's 1.81, the decoder 0.32 for a stem of 0.99
RESNET_WIDTHS = {
    "encoder_width": 128, "encoder_hidden": 64, "exit_hidden": 64, "decoder_width": 128, "decoder_hidden": 80,
}  # fmt: skip
# what configs did not have from the beginning, and what was the case then
LATER = {"network": "mobilenet", "joint": False, "condition": "first", "cloud_fixed": False, "size": SIZE}


@dataclass(frozen=True)
class SplitConfig:
    """Network, widths and operating points. The widths by default are those beside MobileNetV2.

    rate_targets: bits per pixel of each rate level, fewest first. joint: what is behind the split learns with the rest.
    condition: what the decoder knows of the operating point. cloud_fixed: only the edge's half learns. size: px of the
    network's input.
    """

    encoder_width: int = 64
    encoder_hidden: int = 40
    latent_channels: int = 48
    stops: tuple[int, ...] = (0, 2, 4, 8)
    decoder_width: int = 64
    decoder_hidden: int = 48
    decoder_blocks: int = 5
    feature_channels: int = 32
    exit_hidden: int = 96
    classes: int = 1000
    rate_targets: tuple[float, ...] = (0.1, 0.17, 0.28, 0.45, 0.7, 1.15)
    network: str = LATER["network"]
    joint: bool = LATER["joint"]
    condition: str = LATER["condition"]
    cloud_fixed: bool = LATER["cloud_fixed"]
    size: int = LATER["size"]

    @classmethod
    def beside(cls, network: SplitNetwork, **values: Any) -> "SplitConfig":
        """The config for splitting this network."""
        widths = {} if network.name == "mobilenet" else RESNET_WIDTHS
        shape = {"feature_channels": network.feature_channels, "classes": network.classes}
        return cls(network=network.name, **(widths | shape | values))

    def __post_init__(self) -> None:
        if not self.rate_targets or min(self.rate_targets) <= 0 or list(self.rate_targets) != sorted(self.rate_targets):
            raise ValueError(f"rate targets {self.rate_targets}: bits per pixel, above 0 and rising")
        if not self.stops or min(self.stops) < 0 or list(self.stops) != sorted(set(self.stops)):
            raise ValueError(f"stops {self.stops}: numbers of blocks, from 0 and rising")
        if self.size < 64 or self.size % 32:
            raise ValueError(f"--size {self.size}: a multiple of 32 px, from 64")
        if self.condition not in CONDITIONS:
            raise ValueError(f"no condition {self.condition}; there are {', '.join(CONDITIONS)}")

    def points(self) -> list[tuple[int, int]]:
        """(n, q) of every operating point, in the order of the manifest."""
        return [(n, q) for n in self.stops for q in range(len(self.rate_targets))]

    def json(self) -> dict:
        return asdict(self)

    @classmethod
    def parse(cls, values: dict) -> "SplitConfig":
        """The config that `json` wrote, now or earlier. Raises ValueError for one of another architecture."""
        values = LATER | values
        known = {field.name for field in fields(cls)}
        if values.keys() != known:
            raise ValueError(f"another architecture: its config differs in {', '.join(sorted(values.keys() ^ known))}")
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


class TrainingPass(NamedTuple):
    """What `SplitModel.forward` makes of a batch."""

    features: torch.Tensor  # (B, F, h, w)
    bits: torch.Tensor  # (B), with noise: what the rate's gradient comes from
    coded_bits: torch.Tensor  # (B), of rounded values: what the codec would take, without gradient
    exit_logits: torch.Tensor  # (B, K)


class SplitModel(nn.Module):
    def __init__(self, config: SplitConfig):
        super().__init__()
        c = config
        self.config = c
        points, channels = len(c.points()), c.latent_channels
        self.encoder = Encoder(c.encoder_width, c.encoder_hidden, channels, c.stops, BottleneckBlock)
        self.density = FactorizedDensity(len(c.stops), channels)
        self.decoder = Decoder(
            channels, c.decoder_width, c.decoder_hidden, c.decoder_blocks, c.feature_channels,
            points=points, condition=c.condition,
        )  # fmt: skip
        self.exits = nn.ModuleDict({str(n): ExitHead(c.encoder_width, c.exit_hidden, c.classes) for n in c.stops})
        self.classifier = build_tail(c.network, c.classes) if c.joint else None
        # Higher rates start with finer steps; at 1 bpp with one step per deviation of the latent.
        start = torch.tensor([c.rate_targets[q] ** 0.5 for _, q in c.points()])
        self.log_gain = nn.Parameter(start.log()[:, None].repeat(1, channels))
        self.log_inverse_gain = nn.Parameter(-start.log()[:, None].repeat(1, channels))
        if c.cloud_fixed:  # all that decoder.onnx and classifier.onnx are made of; `refresh_median` knows too
            self.log_inverse_gain.requires_grad_(False)
            for part in (self.decoder, self.classifier):
                if part is not None:
                    part.requires_grad_(False)
        self.register_buffer("step_median", torch.zeros(points, channels))
        self.register_buffer("stop", torch.arange(points) // len(c.rate_targets), persistent=False)  # (P) into stops

    @torch.no_grad()
    def calibrate(self, x: torch.Tensor, features: torch.Tensor) -> None:
        """Starts from photos x (B, 3, H, W) and their features (B, F, h, w), everything at deviation 1.

        Whitened patches, every latent channel and every output of the decoder normalised.

        A latent far below one quantisation step drowns in the noise and training collapses.
        """
        self.encoder.whiten(x)
        for n in self.config.stops:
            latent, project = self.encoder(x, n), self.encoder.project[str(n)]
            deviation, mean = torch.std_mean(latent, (0, 2, 3))
            project.weight /= deviation[:, None, None, None]
            project.bias.copy_((project.bias - mean) / deviation)
        deviation, mean = torch.std_mean(features, (0, 2, 3))
        self.decoder.mean.copy_(mean[:, None, None])
        self.decoder.deviation.copy_(deviation[:, None, None])

    @torch.no_grad()
    def refresh_median(self) -> None:
        """Takes the densities' present medians as the centres of rounding, in steps (P, C)."""
        if self.config.cloud_fixed:
            return
        self.step_median.copy_(self.density.median()[self.stop] * self.log_gain.exp())

    def likelihood(self, steps: torch.Tensor, point: torch.Tensor) -> torch.Tensor:
        """P(steps - 1/2 < X < steps + 1/2), X in steps of the gain: (B, C, n), point (B) -> (B, C, n)."""
        return self._likelihood(steps, point, torch.ones_like(point, dtype=steps.dtype))

    def _likelihood(self, steps: torch.Tensor, point: torch.Tensor, rate_weight: torch.Tensor) -> torch.Tensor:
        """`likelihood`; the gradient into steps and gains is multiplied by rate_weight (B), that into the density not.

        Otherwise a density would learn nearly all from the lowest rates, which have the largest lambda
        and hardly any symbols.
        """
        step = torch.exp(-self.log_gain[point])[:, :, None]  # (B, C, 1), in the latent's units
        ends = torch.cat([(steps - 0.5) * step, (steps + 0.5) * step], -1)
        ends = _ScaleGradient.apply(ends, rate_weight[:, None, None])
        with torch.autocast(ends.device.type, enabled=False):  # a difference of cumulatives needs float32
            return self.density.between(ends, self.stop[point])

    def forward(
        self,
        x: torch.Tensor,
        point: torch.Tensor,
        channels: torch.Tensor,
        rate_weight: torch.Tensor,
        noise: Noise,
        *,
        rounding: bool,
    ) -> TrainingPass:
        """Training pass: tensor (B, 3, H, W), operating point (B) of each image, how many channels (B) it keeps.

        The rate's gradient is always taken with additive uniform noise, times rate_weight (B); the
        decoder sees the same noise, or, with `rounding`, rounded values with the gradient passed
        straight through. A dropped channel costs nothing and is at its median. No gradient flows from
        the exits into the encoder.
        """
        c = self.config
        h, w = x.shape[2] // 8, x.shape[3] // 8
        latent = x.new_zeros(len(x), c.latent_channels, h, w)
        exit_logits = x.new_zeros(len(x), c.classes)
        depth = torch.tensor(c.stops, device=x.device)[self.stop[point]]
        for n, images, trunk in self.encoder.trunks(x, depth):
            latent = latent.index_put((images,), self.encoder.project[str(n)](trunk).float())
            exit_logits = exit_logits.index_put((images,), self.exits[str(n)](trunk.detach()).float())
        steps = latent * self.log_gain[point].exp()[:, :, None, None]
        noisy = steps + noise(steps.shape[1:]).to(x.device)

        kept = torch.arange(c.latent_channels, device=x.device) < channels[:, None]  # (B, C)
        some = noise.order(h * w)[: h * w // RATE_SHARE].to(x.device)
        likelihood = self._likelihood(noisy.flatten(2)[..., some], point, rate_weight)
        bits = -(likelihood.log2().mean(2) * kept).sum(1) * h * w

        centre = self.step_median[point][:, :, None, None]
        rounded = (torch.round(steps - centre) + centre).detach()
        with torch.no_grad():
            likelihood = self.likelihood(rounded.flatten(2)[..., some], point)
            coded_bits = -(likelihood.log2().mean(2) * kept).sum(1) * h * w
        quantised = steps + (rounded - steps).detach() if rounding else noisy
        quantised = torch.where(kept[:, :, None, None], quantised, centre)
        restored = quantised * self.log_inverse_gain[point].exp()[:, :, None, None]
        return TrainingPass(self.decoder(restored, point), bits, coded_bits, exit_logits)

    @torch.no_grad()
    def limit_gains(self, x: torch.Tensor, finest: float) -> int:
        """Rounds no channel finer than `finest` steps a deviation of it, on tensors x (B, 3, H, W); how many change.

        A level whose target is above what the network can use finds bits to spend: with ever finer steps of the few
        channels that vary most. The decoder sees the same latent, rounded less finely.
        """
        if not finest > 0:
            raise ValueError(f"--finest {finest}: steps a deviation, above 0")
        changed = 0
        for stop, n in enumerate(self.config.stops):
            most = (finest / self.encoder(x, n).std((0, 2, 3))).log()
            for p in (self.stop == stop).nonzero()[:, 0].tolist():
                excess = (self.log_gain[p] - most).clamp_min(0)
                self.log_gain[p] -= excess
                self.log_inverse_gain[p] += excess
                changed += int((excess > 0).sum())
        self.refresh_median()
        return changed

    @torch.no_grad()
    def gains(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Gain and median per point and channel, (P, C) each: symbol = round(gain * (latent - median))."""
        gain = self.log_gain.exp()
        return gain, self.step_median / gain

    def quantise(self, latent: torch.Tensor, point: torch.Tensor) -> torch.Tensor:
        """latent (B, C, h, w) -> symbols (B, C, h, w), whole numbers in float32."""
        steps = latent.float() * self.log_gain[point].exp()[:, :, None, None]
        return torch.round(steps - self.step_median[point][:, :, None, None])

    def dequantise(self, symbols: torch.Tensor, point: torch.Tensor) -> torch.Tensor:
        """Symbols (B, C, h, w) of points point (B) -> the latent that the decoder takes."""
        centre = self.step_median[point][:, :, None, None]
        return (symbols + centre) * self.log_inverse_gain[point].exp()[:, :, None, None]

    def symbol_bits(self, symbols: torch.Tensor, point: torch.Tensor) -> torch.Tensor:
        """What the entropy model says symbols (B, C, h, w) cost, in bits per image and channel: (B, C).

        Looked up: from REACH on, all symbols cost the same.
        """
        points, own = point.unique(return_inverse=True)
        steps = torch.arange(-REACH, REACH + 1, device=symbols.device) + self.step_median[points][:, :, None]
        costs = -self.likelihood(steps, points).log2()  # (points, C, 2 REACH + 1)
        return costs[own].gather(2, (symbols.flatten(2).long() + REACH).clamp(0, 2 * REACH)).sum(2)


class _ScaleGradient(torch.autograd.Function):
    """Identity whose gradient is multiplied by `factor`."""

    @staticmethod
    def forward(ctx, x: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(factor)
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradient * ctx.saved_tensors[0], None
