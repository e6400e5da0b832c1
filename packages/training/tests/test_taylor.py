import pytest
import torch
from torch import nn

from raccoon_training.blocks import BottleneckBlock, ResidualBlock
from raccoon_training.encoder import Encoder
from raccoon_training.taylor import filter_scores, hidden_layers


@pytest.mark.parametrize(("kind", "layers"), [(BottleneckBlock, 2), (ResidualBlock, 1)])
def test_scores_are_finite_differences(kind, layers, pictures):
    """What the loss of one image loses when a filter's weights and bias shrink by a little."""
    encoder = Encoder(8, 4, 6, (2,), kind).double().requires_grad_(False)
    x = pictures[:1].double()

    def loss(x: torch.Tensor) -> torch.Tensor:
        return encoder(x, 2).square().mean((1, 2, 3))

    scores = filter_scores(encoder.blocks, loss, [x])
    assert [len(of_block) for of_block in scores] == [layers, layers]
    for block, of_block in zip(encoder.blocks, scores, strict=True):
        for layer, of_layer in zip(hidden_layers(block), of_block, strict=True):
            for filter_ in range(layer.out_channels):
                expected = abs(difference(lambda: loss(x).item(), layer, filter_))
                assert float(of_layer[filter_]) == pytest.approx(expected, rel=1e-4, abs=1e-9)


def difference(loss, layer: nn.Conv2d, filter_: int, step: float = 1e-4) -> float:
    """d loss / d s at s = 1, where s multiplies a filter's weights and bias."""
    ends = []
    for factor in (1 + step, (1 - step) / (1 + step), 1 / (1 - step)):  # up, down, and back
        layer.weight[filter_] *= factor
        layer.bias[filter_] *= factor
        ends.append(loss())
    return (ends[0] - ends[1]) / (2 * step)


def test_images_count_by_themselves(pictures):
    """Two images whose gradients cancel still make a filter important; the score is the mean over images."""
    encoder = Encoder(8, 4, 6, (1,), BottleneckBlock).requires_grad_(False)

    def loss(x: torch.Tensor) -> torch.Tensor:
        return encoder(x, 1).mean((1, 2, 3))

    def scores(*batches: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.cat(of_block) for of_block in filter_scores(encoder.blocks, loss, batches)])

    one, two = scores(pictures[:1]), scores(pictures[1:2])
    torch.testing.assert_close(scores(pictures[:2]), (one + two) / 2)
    torch.testing.assert_close(scores(pictures[:1], pictures[1:2]), (one + two) / 2)
    assert not any(layer._forward_hooks for layer in encoder.modules())


def test_a_filter_without_weights_does_not_matter(pictures):
    encoder = Encoder(8, 4, 6, (1,), BottleneckBlock).requires_grad_(False)
    encoder.blocks[0].mix.weight[2] = 0
    encoder.blocks[0].mix.bias[2] = 0
    [[_, mix]] = filter_scores(encoder.blocks, lambda x: encoder(x, 1).square().sum((1, 2, 3)), [pictures])
    assert mix[2] == 0 and (mix > 0).sum() == 3
