"""Small pictures for the tests of data sets."""

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter


def texture(seed, shape=(40, 52)):
    """An image unlike that of any other seed."""
    values = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 3)
    return np.interp(values, (values.min(), values.max()), (0, 255)).astype(np.uint8)


def square(at, shape=(40, 52), size=8):
    """A mask, 0 and 255, of a square with its corner at row and column `at`."""
    mask = np.zeros(shape, np.uint8)
    mask[at[0] : at[0] + size, at[1] : at[1] + size] = 255
    return mask


def save(path, picture):
    """Writes a picture without the care for power cuts that the package's own writer takes, and returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, picture)[1].tobytes())
    return path


def write_busi(folder, counts, *, first_seed=0):
    """Writes a set in the layout of BUSI with `counts` images by class."""
    seed = first_seed
    for label, count in counts.items():
        for number in range(1, count + 1):
            seed += 1
            save(folder / label / f"{label} ({number}).png", texture(seed))
            mask = square((5, 9)) if label != "normal" else np.zeros((40, 52), np.uint8)
            save(folder / label / f"{label} ({number})_mask.png", mask)
    return folder
