import pytest
import torch

from raccoon_training.batches import Batches
from raccoon_training.group import Group

CPU = torch.device("cpu")
ALONE = Group(CPU)
ALL = torch.ones(50, dtype=torch.bool)


def epoch(batches: Batches, number: int) -> list[list[int]]:
    return [batches.at(number * batches.per_epoch + row).photos.tolist() for row in range(batches.per_epoch)]


def test_an_epoch_shows_each_photo_once():
    orders = []
    for seed in (1, 2):
        batches = Batches(ALL, 5, seed, ALONE)
        assert batches.per_epoch == 10
        orders += [epoch(batches, number) for number in (0, 1)]
    assert all(sorted(torch.tensor(order).flatten().tolist()) == list(range(50)) for order in orders)
    assert len({str(order) for order in orders}) == 4
    again = Batches(ALL, 5, 1, ALONE)
    assert again.at(13).photos.tolist() == orders[1][3]  # in the middle of the second epoch, from the seed alone


def test_places_in_the_batch_change():
    batches = Batches(ALL, 5, 1, ALONE)
    first = {batches.at(step).photos[0].item() % 5 for step in range(20)}
    assert first == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("size", [2, 3, 6])
def test_processes_share_the_batches_of_one(size):
    """Every photo always goes to the same process, each has equally many, and together they are the same batch."""
    readable = torch.arange(50) != 17
    one = Batches(readable, 6, 1, ALONE)
    several = [Batches(readable, 6, 1, Group(CPU, rank=rank, size=size)) for rank in range(size)]
    assert one.per_epoch == 8 - 1  # stratum 5 has 7 left
    for step in range(2 * one.per_epoch):
        whole, shares = one.at(step), [batches.at(step) for batches in several]
        assert whole.places.tolist() == list(range(6))
        together = torch.full((6,), -1)
        for rank, share in enumerate(shares):
            assert len(share.photos) == 6 // size and (share.photos % size == rank).all()
            together[share.places] = share.photos
        assert torch.equal(together, whole.photos) and 17 not in whole.photos


def test_what_cannot_be_shared():
    with pytest.raises(ValueError, match="3 processes cannot share a batch of 32: --batch has to be a multiple"):
        Batches(ALL, 32, 1, Group(CPU, size=3))
    with pytest.raises(ValueError, match="50 photos do not fill a batch of 51; lower --batch"):
        Batches(ALL, 51, 1, ALONE)
