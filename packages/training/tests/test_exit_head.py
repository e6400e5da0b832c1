import torch
from conftest import count_macs

from raccoon_training.exit_head import ExitHead


def test_cost_and_shape():
    head = ExitHead(64, 96, 1000)
    assert head(torch.zeros(2, 64, 28, 28)).shape == (2, 1000)
    assert head.macs(28, 28) == count_macs(head, 64, 28, 28) < 5e6
