"""The split model: one set of weights for every operating point p = (n blocks, rate level q).

    tensor -> encoder(n) -> latent -> gain[p], round -> symbols -> inverse gain[p] -> decoder -> features

A per-channel gain before rounding and a learned inverse after it set the rate (gain units, Cui et
al., CVPR 2021); the entropy model has one density per point and channel.
"""

from dataclasses import asdict, dataclass

import torch
from torch import nn

from .decoder import Decoder
from .encoder import Encoder
from .entropy_model import FactorizedDensity


@dataclass(frozen=True)
class SplitConfig:
    """Widths and operating points. `rate_weights`: lambda per rate level, fewest bits first."""

    encoder_width: int = 64
    encoder_hidden: int = 32
    latent_channels: int = 48
    stops: tuple[int, ...] = (0, 4)
    decoder_width: int = 64
    decoder_hidden: int = 32
    decoder_blocks: int = 3
    feature_channels: int = 32
    rate_weights: tuple[float, ...] = (1.6, 0.8, 0.4, 0.2)

    def points(self) -> list[tuple[int, int]]:
        """(n, q) of every operating point, in the order of the manifest."""
        return [(n, q) for n in self.stops for q in range(len(self.rate_weights))]

    def json(self) -> dict:
        return asdict(self)


class SplitModel(nn.Module):
    def __init__(self, config: SplitConfig):
        super().__init__()
        c = config
        self.config = c
        points, channels = len(c.points()), c.latent_channels
        self.encoder = Encoder(c.encoder_width, c.encoder_hidden, channels, c.stops)
        self.density = FactorizedDensity(points, channels)
        self.decoder = Decoder(channels, c.decoder_width, c.decoder_hidden, c.decoder_blocks, c.feature_channels)
        # Higher rates start with finer steps: bits go like log2 of the gain.
        start = torch.tensor([(c.rate_weights[0] / c.rate_weights[q]) ** 0.5 for _, q in c.points()])
        self.log_gain = nn.Parameter(start.log()[:, None].repeat(1, channels))
        self.log_inverse_gain = nn.Parameter(-start.log()[:, None].repeat(1, channels))
        self.register_buffer("step_median", torch.zeros(points, channels))

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

    def refresh_median(self) -> None:
        """Takes the densities' present medians as the centres of rounding, in steps (P, C)."""
        self.step_median.copy_(self.density.median())

    def forward(
        self, x: torch.Tensor, point: torch.Tensor, depth: torch.Tensor, generator: torch.Generator, rounding: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Training pass: tensor (B, 3, H, W), point (B), depth (B) -> features, bits per image (B).

        The rate is always taken with additive uniform noise; the decoder sees the same noise, or,
        with `rounding`, rounded values with the gradient passed straight through.
        """
        latent = self.encoder.mixed(x, depth).float()  # (B, C, h, w)
        steps = latent * self.log_gain[point].exp()[:, :, None, None]
        noise = torch.rand(steps.shape, generator=generator, device=generator.device).to(steps.device) - 0.5
        noisy = steps + noise
        bits = -self.density.likelihood(noisy.flatten(2), point).log2().sum((1, 2))  # (B)
        if rounding:
            centre = self.step_median[point][:, :, None, None]
            quantised = steps + (torch.round(steps - centre) + centre - steps).detach()
        else:
            quantised = noisy
        restored = quantised * self.log_inverse_gain[point].exp()[:, :, None, None]
        return self.decoder(restored), bits

    @torch.no_grad()
    def gains(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Gain and median per point and channel, (P, C) each: symbol = round(gain * (latent - median))."""
        gain = self.log_gain.exp()
        return gain, self.step_median / gain

    def dequantise(self, symbols: torch.Tensor, point: torch.Tensor) -> torch.Tensor:
        """Symbols (B, C, h, w) of points point (B) -> the latent that the decoder takes."""
        centre = self.step_median[point][:, :, None, None]
        return (symbols + centre) * self.log_inverse_gain[point].exp()[:, :, None, None]
