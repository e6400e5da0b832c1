"""The unsplit network as the teacher: its features and logits for the photos of a batch."""

import torch

from .loss import Prediction
from .networks import SplitNetwork


def predict(network: SplitNetwork, features: torch.Tensor) -> Prediction:
    """What the network behind the split makes of features (B, F, h, w)."""
    logits, tapped = network.tail(features)
    return Prediction([features, *tapped], logits)


class Teacher:
    """Answers to photos, remembered until `forget`: features in bfloat16, 120 kB a photo (ResNet-18: 350 kB).

    The same augmented photo is shown in several epochs, and the unsplit network sees it once. remembers: or asks every
    time, where no photo is shown twice.
    """

    def __init__(self, network: SplitNetwork, bf16: bool, *, remembers: bool = True):
        self.network, self.bf16, self.remembers = network, bf16, remembers
        self.forget(0)

    def forget(self, photos: int) -> None:
        """Makes room for answers to `photos` other photos."""
        self.known = torch.zeros(photos, dtype=torch.bool)
        self.features: list[torch.Tensor] = []  # (photos, F, h, w) each, on the CPU
        self.logits: torch.Tensor | None = None

    @torch.no_grad()
    def __call__(self, x: torch.Tensor, photo: torch.Tensor, whole: bool) -> Prediction:
        """Tensors x (B, 3, H, W) of the photos with the numbers photo (B) -> features at the split; if `whole`, all."""
        if not self.remembers:
            features, logits = self._ask(x, whole)
            return Prediction([f.float() for f in features], None if logits is None else logits.float())
        unknown = ~self.known[photo]
        if unknown.any():
            self._remember(photo[unknown], self._ask(x[unknown.to(x.device)], whole))
        features = [stored[photo].to(x.device).float() for stored in self.features]
        return Prediction(features, self.logits[photo].to(x.device) if self.logits is not None else None)

    def _ask(self, x: torch.Tensor, whole: bool) -> Prediction:
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.bf16):
            features = self.network.stem(x.contiguous(memory_format=torch.channels_last))
            return predict(self.network, features) if whole else Prediction([features])

    def _remember(self, photo: torch.Tensor, answer: Prediction) -> None:
        if not self.features:
            kind = torch.bfloat16 if self.bf16 else torch.float32
            self.features = [torch.empty(len(self.known), *f.shape[1:], dtype=kind) for f in answer.features]
            if answer.logits is not None:
                self.logits = torch.empty(len(self.known), answer.logits.shape[1])
        for stored, features in zip(self.features, answer.features, strict=True):
            stored[photo] = features.to("cpu", stored.dtype)
        if self.logits is not None:
            self.logits[photo] = answer.logits.float().cpu()
        self.known[photo] = True
