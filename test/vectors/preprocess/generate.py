"""Writes the golden pixels beside this file: what training sees of a sample photo (see README.md)."""

from pathlib import Path

from PIL import Image
from raccoon_training.images import read_photo

HERE = Path(__file__).parent
SAMPLES = HERE.parents[2] / "samples"
PHOTOS = ["goldfish", "espresso", "koala", "raccoon"]  # 320x272, 600x400, 675x900, 1024x768

for name in PHOTOS:
    pixels = read_photo((SAMPLES / f"{name}.jpg").read_bytes()).transpose(1, 2, 0)  # (H, W, 3)
    Image.fromarray(pixels).save(HERE / f"{name}.png", optimize=True)
