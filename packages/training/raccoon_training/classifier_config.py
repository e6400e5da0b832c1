"""Which network a run of train-classifier trains: what its checkpoint is of."""

from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass(frozen=True)
class ClassifierConfig:
    """depth, classes: the ResNet's. answers: how many classes its teacher tells apart, 0 without one."""

    depth: int
    classes: int
    answers: int = 0

    def json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def parse(cls, values: dict[str, Any]) -> "ClassifierConfig":
        """The config that `json` wrote. Raises ValueError for another kind of model's."""
        known = {field.name for field in fields(cls)}
        if values.keys() != known:
            raise ValueError(f"another architecture: its config differs in {', '.join(sorted(values.keys() ^ known))}")
        return cls(**values)
