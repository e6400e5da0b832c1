"""How much each hidden filter of an encoder matters: first-order Taylor scores (Molchanov et al., arXiv 1611.06440).

Removing a filter sets its weights w and bias b to zero, which changes the loss L by about sum(g w) + g_b b, g the
gradient of L. The filter's output is linear in (w, b), so the same number is the sum over positions of
(dL / d output) * output: one backward pass gives it for every filter and for every image of a batch by itself. The
score is the mean of its absolute value over images. (The mean of the gradient itself is near zero after a training.)
"""

from collections.abc import Callable, Iterable

import torch
from torch import nn
from tqdm import tqdm

from .images import normalise
from .loss import LABEL_FREE, single_stage_loss
from .model import SplitModel
from .networks import SplitNetwork
from .teacher import predict
from .train import channel_variance

BATCH = 32
VARIANCE_PHOTOS = 64


def hidden_layers(block: nn.Module) -> list[nn.Conv2d]:
    """The convolutions of a residual block whose filters can go: all but the last, which makes the block's output."""
    return [layer for layer in block.children() if isinstance(layer, nn.Conv2d)][:-1]


def filter_scores(
    blocks: Iterable[nn.Module], loss: Callable[[torch.Tensor], torch.Tensor], batches: Iterable[torch.Tensor]
) -> list[list[torch.Tensor]]:
    """Scores [block][hidden layer] -> (filters). loss: tensor (B, 3, H, W) -> (B), through those blocks."""
    layers = [hidden_layers(block) for block in blocks]
    scores = {layer: torch.zeros(layer.out_channels) for of_block in layers for layer in of_block}
    images = 0

    def watch(layer: nn.Conv2d, _inputs: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
        output = output.requires_grad_()  # the weights may be frozen

        def add(gradient: torch.Tensor) -> None:
            scores[layer] += (gradient * output.detach()).float().sum((2, 3)).abs().sum(0)

        output.register_hook(add)
        return output

    hooks = [layer.register_forward_hook(watch) for layer in scores]
    try:
        for x in batches:
            loss(x).sum().backward()
            images += len(x)
    finally:
        for hook in hooks:
            hook.remove()
    return [[scores[layer] / images for layer in of_block] for of_block in layers]


def task_scores(
    model: SplitModel, network: SplitNetwork, n: int, pixels: torch.Tensor, *, bf16: bool
) -> list[list[torch.Tensor]]:
    """Scores of the filters of stop n on photos (M, 3, H, W), for the label-free loss without its rate.

    The rate levels take turns. Rounding passes the gradient straight through.
    """
    rates = len(model.config.rate_targets)
    first = model.config.stops.index(n) * rates
    classifier = model.classifier or network
    variances = channel_variance(network, network.stem(normalise(pixels[:VARIANCE_PHOTOS])))

    def loss(x: torch.Tensor) -> torch.Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            unsplit = predict(network, network.stem(x))
        point = first + torch.arange(len(x)) % rates
        steps = model.encoder(x, n).float() * model.log_gain[point].exp()[:, :, None, None]
        centre = model.step_median[point][:, :, None, None]
        symbols = steps + (torch.round(steps - centre) - steps).detach()
        split = predict(classifier, model.decoder(model.dequantise(symbols, point), point))
        return single_stage_loss(torch.zeros(len(x)), split, unsplit, LABEL_FREE, variances=variances).total

    batches = (normalise(batch) for batch in tqdm(pixels.split(BATCH), desc="scores", unit="batch"))
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        return filter_scores(model.encoder.blocks[:n], loss, batches)
