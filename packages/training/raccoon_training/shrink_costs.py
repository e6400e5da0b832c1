"""What a residual block of each hidden width costs on a device, in whole microseconds, through ONNX Runtime.

    time of an encoder with B blocks of width h - time of the one without blocks = B x cost(h)

Time is no smooth function of the width: vector units work on 8 or 16 channels at once, so on some machines 32 channels
take hardly more than half of what 40 take. That is why costs are measured and not counted. The table is a small JSON
file: it can be measured on the device that will run the encoder, and used wherever the training is.
"""

import json
import math
import os
import platform
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import nn
from tqdm import trange

from .blocks import BottleneckBlock
from .encoder import Encoder
from .exit_head import ExitHead
from .export import OPSET, EncoderGraph, trace_graph
from .model import SplitConfig
from .quantise import OPSET as INT8_OPSET
from .quantise import quantise_graph

FORMAT = "raccoon-block-costs"
VERSION = 1
ROUNDS = 40
WARM_UPS = 3


@dataclass(frozen=True)
class BlockCosts:
    """Microseconds. `fixed`: all but the blocks; `block`: hidden width -> one block, of `shape`'s encoder."""

    shape: dict[str, int]
    precision: str
    fixed: int
    block: dict[int, int]
    threads: int
    device: str

    def of(self, widths: list[int]) -> int:
        """The predicted time of an encoder with blocks of these hidden widths; 0: no block."""
        return self.fixed + sum(self.block[width] for width in widths if width > 0)

    def check_budget(self, us: int) -> None:
        """Raises ValueError for a budget that no encoder keeps to."""
        if us < self.fixed:
            raise ValueError(
                f"{us / 1000:g} ms are too little: without any block the encoder takes {self.fixed / 1000:.2f} ms"
            )


def encoder_shape(config: SplitConfig, n: int) -> dict[str, int]:
    """What the costs depend on: a table is of encoders of one shape."""
    return {
        "width": config.encoder_width, "hidden": config.encoder_hidden, "channels": config.latent_channels,
        "exit": config.exit_hidden, "classes": config.classes, "blocks": n, "size": config.size,
    }  # fmt: skip


def time_graphs(graphs: dict[Any, bytes], threads: int, rounds: int = ROUNDS) -> dict[Any, float]:
    """Microseconds of one image through each ONNX graph: the fastest of so many runs.

    The graphs take turns, so that a busy second of the machine is not one graph's alone; other programs only add time.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # as the edge's
    sessions = {
        name: onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        for name, graph in graphs.items()
    }
    photos = {name: grey_ramp(session.get_inputs()[0].shape) for name, session in sessions.items()}
    best = dict.fromkeys(sessions, float("inf"))
    for i in trange(-WARM_UPS, rounds, desc="times", unit="round", leave=False):
        for name, session in sessions.items():
            feeds = {"tensor": photos[name]}
            start = time.perf_counter()
            session.run(["latent"], feeds)
            if i >= 0:
                best[name] = min(best[name], 1e6 * (time.perf_counter() - start))
    return best


def grey_ramp(shape: list[int]) -> np.ndarray:
    """A tensor (1, 3, H, W) from -1 to 1; what a photo shows does not change the time."""
    return np.linspace(-1, 1, math.prod(shape), dtype=np.float32).reshape(shape)


def encoder_graph(config: SplitConfig, n: int, hidden: int, precision: str = "float32") -> bytes:
    """An encoder of the config's shape that has learned nothing, n blocks of one hidden width; 0: without blocks."""
    encoder = Encoder(config.encoder_width, max(1, hidden), config.latent_channels, (n,), BottleneckBlock)
    if hidden == 0:
        encoder.blocks = nn.ModuleList(nn.Identity() for _ in range(n))
    module = EncoderGraph(encoder, ExitHead(config.encoder_width, config.exit_hidden, config.classes), n)
    tensor = grey_ramp([1, 3, config.size, config.size])
    opset = INT8_OPSET if precision == "int8" else OPSET
    inputs = {"tensor": torch.from_numpy(tensor)}
    graph = trace_graph(module, inputs, ("latent", "exit_logits"), batched=False, opset=opset)
    if precision == "int8":
        graph = quantise_graph(graph, tensor[None])
    return graph.SerializeToString()


def measure_costs(
    config: SplitConfig, n: int, widths: list[int], *, precision: str = "float32", threads: int, rounds: int = ROUNDS
) -> BlockCosts:
    """Times encoders with n blocks of each of the hidden widths on this machine."""
    graphs = {width: encoder_graph(config, n, width, precision) for width in (0, *widths)}
    times = time_graphs(graphs, threads, rounds)
    block = {width: max(1, round((times[width] - times[0]) / n)) for width in widths}
    device = f"{os.cpu_count()} {platform.machine()} processor cores, ONNX Runtime {onnxruntime.__version__}"
    return BlockCosts(encoder_shape(config, n), precision, round(times[0]), block, threads, device)


def write_costs(costs: BlockCosts, path: Path) -> None:
    path.write_text(json.dumps({"format": FORMAT, "version": VERSION, **asdict(costs)}, indent=1) + "\n")


def read_costs(path: Path, config: SplitConfig, n: int, precision: str = "float32") -> BlockCosts:
    """What `write_costs` wrote. Raises ValueError for anything else, and for costs of another encoder."""
    try:
        content = json.loads(path.read_text())
        if (content.pop("format"), content.pop("version")) != (FORMAT, VERSION):
            raise ValueError("another format")
        content["block"] = {int(width): int(us) for width, us in content["block"].items()}
        costs = BlockCosts(**content)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{path} is no table of block costs ({error}); remove it to measure again") from error
    if (costs.shape, costs.precision) != (encoder_shape(config, n), precision):
        raise ValueError(
            f"{path} has the costs of another encoder, {costs.precision} {costs.shape}; give another file for --costs"
        )
    return costs
