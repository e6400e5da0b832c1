"""The noise of training: what stands for rounding, and what a poor camera adds.

A stream of its own for every place in the global batch, from the seed and the step: processes draw for their own images
alone, the run is the same however many there are, and a resumed one has nothing to restore.
"""

from collections.abc import Sequence

import numpy as np
import torch


class Noise:
    """What the images at `places` of the global batch get in step `step`."""

    def __init__(self, seed: int, step: int, places: Sequence[int]):
        self.seed, self.step, self.places = seed, step, places

    def __call__(self, shape: Sequence[int]) -> torch.Tensor:
        """Uniform on [-1/2, 1/2): (B, *shape)."""
        noise = np.empty((len(self.places), *shape), np.float32)
        for image, place in zip(noise, self.places, strict=True):
            np.random.default_rng([self.seed, 2, self.step, place]).random(out=image, dtype=np.float32)
        return torch.from_numpy(noise) - 0.5

    def normal(self, shape: Sequence[int]) -> torch.Tensor:
        """Normal, of deviation 1: (B, *shape)."""
        noise = np.empty((len(self.places), *shape), np.float32)
        for image, place in zip(noise, self.places, strict=True):
            np.random.default_rng([self.seed, 5, self.step, place]).standard_normal(out=image, dtype=np.float32)
        return torch.from_numpy(noise)

    def strengths(self) -> torch.Tensor:
        """Uniform on [0, 1), a number for each image: (B)."""
        return torch.tensor([np.random.default_rng([self.seed, 6, self.step, place]).random() for place in self.places])

    def order(self, count: int) -> torch.Tensor:
        """A permutation of 0 ... count - 1, the same for all images of the step."""
        return torch.from_numpy(np.random.default_rng([self.seed, 3, self.step]).permutation(count))
