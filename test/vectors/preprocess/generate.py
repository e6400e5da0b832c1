"""Writes the golden pixels beside this file: what training sees of a sample photo (see README.md)."""

import json
from base64 import b64encode
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from raccoon_training.images import read_photo

HERE = Path(__file__).parent
SAMPLES = HERE.parents[2] / "samples"
PHOTOS = ["goldfish", "espresso", "koala", "raccoon"]  # 320x272, 600x400, 675x900, 1024x768

for name in PHOTOS:
    pixels = read_photo((SAMPLES / f"{name}.jpg").read_bytes()).transpose(1, 2, 0)  # (H, W, 3)
    Image.fromarray(pixels).save(HERE / f"{name}.png", optimize=True)


SIZES = [(40, 25), (17, 90), (16, 17), (9, 8), (203, 131), (32, 32)]  # up, down, only one axis, far down


def made_up(width: int, height: int) -> np.ndarray:
    """Bytes (height, width, 3) that any language can make again: the top 8 bits of i * 2654435761 mod 2^32."""
    i = np.arange(width * height * 3, dtype=np.uint64)
    return ((i * 2654435761 % 2**32) >> 24).astype(np.uint8).reshape(height, width, 3)


def resized(width: int, height: int) -> dict[str, object]:
    """What `read_photo` makes of it for a network of 16x16 px, in base64."""
    file = BytesIO()
    Image.fromarray(made_up(width, height)).save(file, "png")
    pixels = read_photo(file.getvalue(), 16).transpose(1, 2, 0)
    return {"width": width, "height": height, "pixels": b64encode(pixels.tobytes()).decode()}


(HERE / "resize.json").write_text(json.dumps([resized(*size) for size in SIZES], indent=1) + "\n")
