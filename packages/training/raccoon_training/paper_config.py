"""Which of the paper's models a run trains, and at which lambda: what its checkpoint is of."""

import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import torch

from . import resnet
from .decoder import LightDecoder, PaperDecoder
from .entropic_student import TABLE_I, TWO_STAGES_FIXED
from .images import SIZE
from .images import normalise as unit_normalise
from .mobilenet import MobileNetV2, load_mobilenet
from .paper import CLASSIFIER_FIXED, JOINT, PaperModel, Stage, check_rate_weight, paper_model
from .resnet import ResNet, ResNetClassifier, load_resnet, read_weights
from .scaled_paper import scaled_model

# the paper's own with N blocks, the same with a decoder worth running, the paper's baseline, and the rows of its
# Table I that lead from that to N = 4 (which is C)
MODELS = ("paper-n0", "paper-n4", "paper-n8", "light-n0", "light-n4", "light-n8", "entropic-student", "A", "B", "C")
# what configs did not have from the beginning, and what was the case then
LATER = {"network": "resnet", "width": None, "latent_channels": None, "size": SIZE, "rate_target": None}


class Backbone(NamedTuple):
    """The network that is split: its name, its classes, the px of its input, and what it takes."""

    name: str
    classes: int
    size: int = SIZE

    def tensor(self, pixels: torch.Tensor) -> torch.Tensor:
        """uint8 (B, 3, H, W) -> the network's input."""
        x = unit_normalise(pixels) if self.name == "mobilenet" else resnet.normalise(pixels)
        return x.contiguous(memory_format=torch.channels_last)

    def tensor_of(self, unit: torch.Tensor) -> torch.Tensor:
        """The same of augmented photos (B, 3, H, W) in [-1, 1]."""
        x = unit if self.name == "mobilenet" else resnet.normalise(127.5 * (unit + 1))
        return x.contiguous(memory_format=torch.channels_last)

    @property
    def mean_and_std(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Of 8-bit RGB, for a bundle's manifest."""
        return ((127.5,) * 3, (127.5,) * 3) if self.name == "mobilenet" else (resnet.MEAN, resnet.STD)

    def __str__(self) -> str:
        """Where it is cut, for people."""
        if self.name == "mobilenet":
            return "MobileNetV2 behind features.6"
        return f"ResNet-{self.name.removeprefix('resnet')} behind layer1"


@dataclass(frozen=True)
class PaperConfig:
    """What a run of `train-paper` trains.

    depth: the ResNet's; 0 with MobileNetV2. rate_weight: lambda, per bit per pixel; with a rate_target (bits per pixel)
    where the search begins. distilled: whether a network teaches it. width, latent_channels: the encoder's, None for
    the network's own (paper.py, scaled_paper.py). size: px.
    """

    model: str
    depth: int
    classes: int
    rate_weight: float
    classifier_fixed: bool
    distilled: bool
    network: str = LATER["network"]
    width: int | None = LATER["width"]
    latent_channels: int | None = LATER["latent_channels"]
    size: int = LATER["size"]
    rate_target: float | None = LATER["rate_target"]

    def __post_init__(self) -> None:
        if self.model not in MODELS and not re.fullmatch(r"(paper|light)-n\d{1,2}", self.model):
            raise ValueError(f"no model {self.model}; there are {', '.join(MODELS)}, and other numbers of blocks")
        check_rate_weight(self.rate_weight)
        if self.model == "entropic-student" and not self.distilled:
            raise ValueError("Entropic Student's first stage is on a teacher's features: it takes --weights")
        if self.classifier_fixed and not self.distilled:
            raise ValueError("--classifier-fixed needs the trained network whose classifier stays: --weights")
        if self.network == "mobilenet" and not re.match("light-n|entropic-student", self.model):
            raise ValueError(
                f"no model {self.model} beside MobileNetV2, whose whole costs less than that decoder: "
                "light-n0, light-n4 ... or entropic-student"
            )
        if self.width and not (self.blocks is not None and self.width % 2 == 0):
            raise ValueError(f"--width {self.width}: an even number of channels, of the models with blocks")
        if self.latent_channels and self.model in ("A", "B", "C"):
            raise ValueError(f"--latent-channels: {self.model} is a row of Table I as it is")
        if self.size < 64 or self.size % 32:
            raise ValueError(f"--size {self.size}: a multiple of 32 px, from 64")

    @property
    def blocks(self) -> int | None:
        """N; None for those that are not called by it."""
        return int(self.model.split("-n")[1]) if "-n" in self.model else None

    def classifier(self) -> ResNetClassifier | MobileNetV2:
        """An empty one, for a checkpoint's weights."""
        if self.network == "mobilenet":
            return MobileNetV2(self.classes).without_stem()
        return ResNetClassifier(self.depth, self.classes)

    def build(self, classifier: ResNetClassifier | MobileNetV2) -> PaperModel:
        """A model to train, with this classifier behind it."""
        if self.network == "mobilenet":
            return scaled_model(self.blocks, classifier, self.width, self.latent_channels)
        if self.blocks is not None:
            kind = PaperDecoder if self.model.startswith("paper") else LightDecoder
            widths = {"width": self.width, "latent_channels": self.latent_channels}
            return paper_model(self.blocks, classifier, kind, **{name: w for name, w in widths.items() if w})
        row = TABLE_I[{"entropic-student": "ES"}.get(self.model, self.model)]
        return row.model(classifier, self.latent_channels or 24)

    @property
    def backbone(self) -> Backbone:
        return Backbone("mobilenet" if self.network == "mobilenet" else f"resnet{self.depth}", self.classes, self.size)

    @property
    def stages(self) -> tuple[Stage, ...]:
        if self.model == "entropic-student":
            return TWO_STAGES_FIXED if self.classifier_fixed else TABLE_I["ES"].stages
        return CLASSIFIER_FIXED if self.classifier_fixed else JOINT

    def json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def parse(cls, values: dict[str, Any]) -> "PaperConfig":
        """The config that `json` wrote, now or earlier. Raises ValueError for another kind of model's."""
        values = LATER | values
        known = {field.name for field in fields(cls)}
        if values.keys() != known:
            raise ValueError(f"another architecture: its config differs in {', '.join(sorted(values.keys() ^ known))}")
        return cls(**values)


def load_teacher(weights: Path) -> ResNet | MobileNetV2:
    """The frozen unsplit network of a file of weights, which say what it is."""
    return load_mobilenet(weights) if "features.0.conv.weight" in read_weights(weights) else load_resnet(weights)
