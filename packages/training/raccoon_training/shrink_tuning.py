"""Fine-tuning of a shrunk encoder: towards the latents of the whole one, on photos without labels.

    L = mean over channels c of w_c (z_c - z*_c)^2 + KL(exit* || exit)

z* and exit* are the whole encoder's (layer-wise distillation, as in arXiv 2410.06567, at the one layer that is sent).
Decoder, classifier and entropy model take no part: what they expect stays what it was.
"""

import numpy as np
import torch
from tqdm import trange

from .images import AUGMENT_DRAWS, augment
from .loss import prediction_error
from .model import SplitModel
from .schedule import learning_rate
from .shrunk_encoder import ShrunkEncoder

BATCH = 32


def channel_weights(model: SplitModel, n: int) -> torch.Tensor:
    """How much a latent channel's squared error counts, (C), sum 1: its gain squared, so in steps of the quantiser.

    The mean of such weights over the rate levels of stop n; otherwise the finest would be all that counts.
    """
    rates = len(model.config.rate_targets)
    first = model.config.stops.index(n) * rates
    return (2 * model.log_gain[first : first + rates]).softmax(1).mean(0)


def fine_tune(
    shrunk: ShrunkEncoder, model: SplitModel, pixels: torch.Tensor, *, epochs: float, lr: float, seed: int, bf16: bool
) -> float:
    """Trains the shrunk encoder and its exit on photos (M, 3, H, W).

    Returns the latents' weighted squared error in the last tenth of the training, as a share of their variance.
    """
    if len(pixels) < BATCH:
        raise ValueError(f"{len(pixels)} photos are less than a batch of {BATCH}; give more, or --epochs 0")
    n = str(shrunk.n)
    weight = channel_weights(model, shrunk.n)[:, None, None]
    shrunk.requires_grad_(True)
    optimiser = torch.optim.AdamW(shrunk.parameters(), betas=(0.9, 0.99), weight_decay=1e-4)
    per_epoch = len(pixels) // BATCH
    steps = max(1, int(epochs * per_epoch))
    random = np.random.default_rng([seed, 9])
    errors = []
    for step in trange(steps, desc="fine-tune", unit="step"):
        if step % per_epoch == 0:
            order = torch.from_numpy(random.permutation(len(pixels)))
        rows = order[step % per_epoch * BATCH :][:BATCH]
        draws = torch.from_numpy(random.random((BATCH, AUGMENT_DRAWS), np.float32))
        x = augment(pixels[rows], draws, pixels.shape[2]).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            trunk = model.encoder.trunk(x, shrunk.n)
            target, exit_target = model.encoder.project[n](trunk).float(), model.exits[n](trunk).float()
            latent, exit_logits = (output.float() for output in shrunk(x))
        error = ((latent - target).square() * weight).sum(1).mean()
        variance = (target.var((0, 2, 3)) * weight[:, 0, 0]).sum()
        loss = error / variance + prediction_error(exit_logits, exit_target).mean()
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, steps, max(1, steps // 20), max(1, steps // 2), lr)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(shrunk.parameters(), 1.0)
        optimiser.step()
        errors.append(float((error / variance).detach()))
    shrunk.requires_grad_(False)
    return float(np.mean(errors[-max(1, steps // 10) :]))
