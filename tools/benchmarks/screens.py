"""Ultrasound pictures on a scanner's screen: the outline where the tissue is cut out first, and where it is not.

The variable ``BREASTKIT_DATA`` names the folder that holds ``busi/Dataset_BUSI_with_GT`` and ``busbra/BUSBRA``; the
weights have learnt from part of these pictures, so that only what the screen takes away counts here.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from benchmarks.measured import Measured
from breastkit.bundle import Bundle
from breastkit.errors import BreastkitError
from breastkit.images import read_gray, read_mask
from breastkit.inference.tissue_window import EVERYTHING, tissue_window
from breastkit.inference.ultrasound import UltrasoundReader
from breastkit.metrics.segmentation import dice
from breastkit.phantoms.us.screens import scanner_screen
from breastkit.pipelines import ULTRASOUND
from breastkit.seeding import generator

_PICTURES, _SEED = 60, 17
# The screen's gray, and whether the probe was curved.
_SCREENS = {"black": (0, False), "gray": (40, False), "sector": (0, True)}


def main() -> Measured:
    """Runs the benchmark."""
    found = pictures_with_masks(os.environ.get("BREASTKIT_DATA", ""))
    framed = [path for path, _ in found if tissue_window(read_gray(path)) != EVERYTHING]
    order = generator(_SEED, "screens").permutation(len(found))[:_PICTURES]
    chosen = [(read_gray(path), read_mask(mask) > 0) for path, mask in (found[number] for number in order)]
    reader = UltrasoundReader.of_bundle(Bundle(ULTRASOUND))
    plain = float(np.mean([dice(reader.read(gray, explain=False).mask, mask) for gray, mask in chosen]))
    figures: dict[str, object] = {"pictures": len(found), "wrongly_framed": len(framed), "plain_dice": plain}
    lines = [
        f"screens: of {len(found)} published pictures {len(framed)} are taken for screens; mean Dice of "
        f"{len(chosen)} of them {plain:.3f}; the same on a screen, whole and with the tissue cut out:"
    ]
    for name, (background, sector) in _SCREENS.items():
        whole, cut, overlaps = [], [], []
        for number, (gray, mask) in enumerate(chosen):
            screen, place = scanner_screen(gray, number, background=background, sector=sector)
            truth = scanner_screen(mask.astype(np.uint8) * 255, number, sector=sector)[0][place] > 127
            whole.append(dice(reader.read(screen, explain=False).mask[place], truth))
            window = tissue_window(screen)
            read = np.zeros(screen.shape, bool)
            read[window] = reader.read(screen[window], explain=False).mask
            cut.append(dice(read[place], truth))
            overlaps.append(_overlap(screen.shape, window, place))
        shares = float(np.mean(np.array(overlaps) > 0.8))
        figures[name] = {"whole_dice": np.mean(whole), "cut_out_dice": np.mean(cut), "windows_found": shares}
        lines.append(
            f"{name}: {np.mean(whole):.3f} and {np.mean(cut):.3f}; window found (IoU above .8) in {shares:.0%}"
        )
    return Measured(figures, tuple(lines))


def pictures_with_masks(data: str) -> list[tuple[Path, Path]]:
    """Returns the pictures of BUSI and BUS-BRA that show lesions, with their masks, as published.

    Raises:
        BreastkitError: if there are none.
    """
    busi, busbra = Path(data, "busi", "Dataset_BUSI_with_GT"), Path(data, "busbra", "BUSBRA")
    found = [(path.with_name(path.name.replace("_mask", "")), path) for path in sorted(busi.glob("*[nt]/*_mask.png"))]
    found += [(path, busbra / "Masks" / path.name.replace("bus_", "mask_")) for path in sorted(busbra.glob("Images/*"))]
    if not data or not found:
        raise BreastkitError("There are no pictures; let BREASTKIT_DATA name the folder of busi and busbra.")
    return found


def _overlap(shape: tuple[int, ...], first: tuple[slice, slice], second: tuple[slice, slice]) -> float:
    one, other = np.zeros(shape, bool), np.zeros(shape, bool)
    one[first] = other[second] = True
    return float((one & other).sum() / (one | other).sum())
