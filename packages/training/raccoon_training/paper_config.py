"""Which of the paper's models a run trains, and at which lambda: what its checkpoint is of."""

from dataclasses import asdict, dataclass, fields
from typing import Any

from .decoder import LightDecoder, PaperDecoder
from .entropic_student import TABLE_I
from .paper import CLASSIFIER_FIXED, JOINT, PaperModel, Stage, check_rate_weight, paper_model
from .resnet import ResNetClassifier

# the paper's own with N blocks, the same with a decoder worth running, the paper's baseline, and the rows of its
# Table I that lead from that to N = 4 (which is C)
MODELS = ("paper-n0", "paper-n4", "paper-n8", "light-n0", "light-n4", "light-n8", "entropic-student", "A", "B", "C")


@dataclass(frozen=True)
class PaperConfig:
    """depth, classes: the ResNet's. rate_weight: lambda, per bit per pixel. distilled: whether a network teaches it."""

    model: str
    depth: int
    classes: int
    rate_weight: float
    classifier_fixed: bool
    distilled: bool

    def __post_init__(self) -> None:
        if self.model not in MODELS:
            raise ValueError(f"no model {self.model}; there are {', '.join(MODELS)}")
        check_rate_weight(self.rate_weight)
        if self.model == "entropic-student" and (self.classifier_fixed or not self.distilled):
            raise ValueError(
                "Entropic Student has two stages of its own, the first on a teacher's features: "
                "it takes --weights and no --classifier-fixed"
            )
        if self.classifier_fixed and not self.distilled:
            raise ValueError("--classifier-fixed needs the trained network whose classifier stays: --weights")

    def build(self, classifier: ResNetClassifier) -> PaperModel:
        """A model to train, with this classifier behind it."""
        if "-n" in self.model:
            kind, blocks = self.model.split("-n")
            return paper_model(int(blocks), classifier, PaperDecoder if kind == "paper" else LightDecoder)
        return TABLE_I[{"entropic-student": "ES"}.get(self.model, self.model)].model(classifier)

    @property
    def stages(self) -> tuple[Stage, ...]:
        if self.model == "entropic-student":
            return TABLE_I["ES"].stages
        return CLASSIFIER_FIXED if self.classifier_fixed else JOINT

    def json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def parse(cls, values: dict[str, Any]) -> "PaperConfig":
        """The config that `json` wrote. Raises ValueError for another kind of model's."""
        known = {field.name for field in fields(cls)}
        if values.keys() != known:
            raise ValueError(f"another architecture: its config differs in {', '.join(sorted(values.keys() ^ known))}")
        return cls(**values)
