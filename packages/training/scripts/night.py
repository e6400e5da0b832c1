"""A poor camera at night, simulated from other photos: an eighth of the light, grey, sensor noise, amplified, JPEG.

scripts/night.py <folder with train and val> <out>   takes every 5th photo of train, every 6th of val; 2200 and 600
"""

import io
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from raccoon_training.images import list_photos

data, out = map(Path, sys.argv[1:])
random = np.random.default_rng(7)
for split, every, count in (("train", 5, 2200), ("val", 6, 600)):
    for photo in list_photos(data, split)[::every][:count]:
        folder = out / split / photo.wnid
        folder.mkdir(parents=True, exist_ok=True)
        light = np.asarray(Image.open(io.BytesIO(photo.read())).convert("L"), np.float32) / 255 / 8
        seen = np.clip(4 * (light + random.normal(0, 0.01, light.shape)), 0, 1)
        name = Path(photo.entry or photo.file).name
        Image.fromarray((255 * seen + 0.5).astype(np.uint8)).convert("RGB").save(folder / name, quality=92)
