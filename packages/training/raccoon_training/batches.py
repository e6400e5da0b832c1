"""Which photos make which batch.

Photo i of the list belongs to process i mod W: only that one decodes it, and asks the unsplit network about it. A batch
of B takes one photo from each of B strata, those i with the same i mod B; so it has B/W photos of every process, and
the same photos whatever W is. An epoch shuffles every stratum, and the photos within each batch.
"""

from typing import NamedTuple

import numpy as np
import torch

from .group import Group


class Batch(NamedTuple):
    """This process's share of a global batch: its photos (b), as numbers of the list, and their places (b) in it."""

    photos: torch.Tensor
    places: torch.Tensor


class Batches:
    """The batches of a run, from the seed alone: a resumed run goes on in the middle of an epoch."""

    def __init__(self, readable: torch.Tensor, size: int, seed: int, group: Group):
        """readable: (N) bool, which photos of the list there are. size: of the global batch."""
        if size % group.size:
            raise ValueError(f"{group.size} processes cannot share a batch of {size}: --batch has to be a multiple")
        self.size, self.seed, self.group = size, seed, group
        self.strata = [np.flatnonzero(readable[j::size]) * size + j for j in range(size)]
        self.per_epoch = min(map(len, self.strata))
        if self.per_epoch == 0:
            raise ValueError(f"{int(readable.sum())} photos do not fill a batch of {size}; lower --batch")
        self.epoch, self.order = -1, np.empty(0)

    def at(self, step: int) -> Batch:
        """This process's share of the batch that step `step` of the run takes."""
        epoch, row = divmod(step, self.per_epoch)
        if epoch != self.epoch:
            self.epoch, self.order = epoch, self._shuffled(epoch)
        photos = torch.from_numpy(self.order[row])
        places = (photos % self.group.size == self.group.rank).nonzero()[:, 0]
        return Batch(photos[places], places)

    def _shuffled(self, epoch: int) -> np.ndarray:
        """(batches, B) numbers of photos."""
        random = np.random.default_rng([self.seed, epoch])
        order = np.stack([random.permutation(stratum)[: self.per_epoch] for stratum in self.strata], 1)
        return random.permuted(order, axis=1)
