"""Breast ultrasound phantoms: pictures with their truth that the project can ship, make at will and train on.

Everything is drawn at random, widely: tissue, lesions, probe and machine. A case depends on its seed and number alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from breastkit.atomic import make_folder
from breastkit.errors import UsageError
from breastkit.images import write_png
from breastkit.phantoms.us.acquisition import Machine, acquire, draw_scatterers, random_machine
from breastkit.phantoms.us.lesions import add_lesion
from breastkit.phantoms.us.overlays import add_overlays
from breastkit.phantoms.us.probe import Probe, random_probe
from breastkit.phantoms.us.tissue import Tissue, make_tissue
from breastkit.progress import parallel_map
from breastkit.seeding import generator

LABELS = ("benign", "malignant", "normal")
# The proportions of the public sets, in an order that gives the first few cases every label.
_ORDER = ("benign", "malignant", "normal", "benign", "malignant", "benign")
CINE_FRAMES = 8
FRAME_TIME_MS = 50.0


@dataclass(frozen=True)
class UsPhantom:
    """One picture and what is true about it.

    Attributes:
        image: 8-bit gray, rows x columns.
        mask: 0 or 1, of the same shape; all lesions together.
        label: "benign", "malignant" or "normal".
        spacing: size of a pixel in mm.
        settings: how it was made: probe, machine, layers, lesions, what is burned in.
    """

    image: NDArray[Any]
    mask: NDArray[Any]
    label: str
    spacing: float
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Scene:
    label: str
    probe: Probe
    machine: Machine
    tissue: Tissue
    scatterers: NDArray[Any]


def make_us_phantom(
    seed: int, case: int, *, size: tuple[int, int] | None = None, label: str | None = None
) -> UsPhantom:
    """Makes one phantom.

    Args:
        seed: the seed of the set.
        case: its number in the set; each number is another breast.
        size: rows and columns; random by default, as pictures cut from screens are.
        label: "benign", "malignant" or "normal"; by default by the number, in the proportions of public sets.

    Raises:
        UsageError: for another label.
    """
    scene = _make_scene(seed, case, size, label)
    picture = acquire(generator(seed, "us", case, "frame"), scene.probe, scene.machine, scene.tissue, scene.scatterers)
    return _phantom(seed, case, scene, picture, scene.tissue.mask)


def make_us_cine(
    seed: int, case: int, *, frames: int = CINE_FRAMES, size: tuple[int, int] | None = None, label: str | None = None
) -> Iterator[UsPhantom]:
    """Makes the same breast as `make_us_phantom` as a short clip: it moves and is pressed, the speckle with it.

    Args:
        seed: the seed of the set.
        case: its number in the set.
        frames: how many pictures.
        size: rows and columns; random by default.
        label: as for `make_us_phantom`.

    Yields:
        One phantom per frame.
    """
    scene = _make_scene(seed, case, size, label)
    rng = generator(seed, "us", case, "motion")
    reach_x, reach_y, press = rng.uniform(2, 9), rng.uniform(0, 2), rng.uniform(0, 0.05)
    phase = rng.uniform(0, 2 * np.pi)
    for frame in range(frames):
        turn = phase + 2 * np.pi * frame / max(frames, 8)
        matrix = np.array(
            [[1, 0, reach_x * np.sin(turn)], [0, 1 + press * np.sin(turn), reach_y * np.sin(turn + 1)]],
            dtype=np.float32,
        )
        moved = partial(_moved, matrix=matrix)
        tissue = replace(
            scene.tissue,
            echo=moved(scene.tissue.echo),
            attenuation=moved(scene.tissue.attenuation),
            mask=moved(scene.tissue.mask, flags=cv2.INTER_NEAREST),
        )
        # Nearest: anything smoother would average the scatterers and dim the speckle.
        scatterers = np.stack([moved(look, flags=cv2.INTER_NEAREST) for look in scene.scatterers])
        stream = generator(seed, "us", case, "frame")
        picture = acquire(stream, scene.probe, scene.machine, tissue, scatterers)
        yield _phantom(seed, case, scene, picture, tissue.mask)


def write_us_phantoms(
    out: str | Path, *, cases: int = 12, seed: int = 0, dicom: bool = False, workers: int | None = None
) -> Path:
    """Writes a set of phantoms in the layout of BUSI, or as DICOM.

    Without `dicom`: ``benign/benign (1).png``, ``benign/benign (1)_mask.png`` and, where there are several lesions,
    ``benign (1)_mask_1.png``; the same for malignant and normal. With `dicom`: ``us_001/still/us_001.dcm`` and
    ``us_001/cine/us_001.dcm`` (several frames), the truth as ``masks/us_001_mask.png`` and
    ``masks/us_001_cine_mask_01.png``.

    Args:
        out: the folder to write into.
        cases: how many.
        seed: of the set; the same seed gives the same files.
        dicom: write ultrasound DICOM instead of PNG.
        workers: processes to work with; all available cores by default.

    Returns:
        The folder.

    Raises:
        UsageError: when fewer than one case is asked for.
    """
    if cases < 1:
        raise UsageError(f"{cases} phantom cases were asked for; give at least 1.")
    out = make_folder(out)
    numbers: dict[str, int] = {}
    jobs = []
    for case in range(cases):
        label = _label_of(case)
        numbers[label] = numbers.get(label, 0) + 1
        jobs.append((seed, case, f"{label} ({numbers[label]})"))
    write = partial(_write_dicom if dicom else _write_pngs, out=out)
    parallel_map(write, jobs, "Ultrasound phantoms", workers=workers, unit="case")
    return out


def _label_of(case: int) -> str:
    return _ORDER[case % len(_ORDER)]


def _make_scene(seed: int, case: int, size: tuple[int, int] | None, label: str | None) -> _Scene:
    label = label or _label_of(case)
    if label not in LABELS:
        raise UsageError(f"'{label}' is no label of an ultrasound phantom; use one of {', '.join(LABELS)}.")
    rng = generator(seed, "us", case, "scene")
    probe = random_probe(rng, size)
    machine = random_machine(rng)
    tissue = make_tissue(rng, probe)
    if label != "normal":
        for _ in range(2 if rng.random() < 0.04 else 1):
            add_lesion(rng, probe, tissue, label)
        while not tissue.mask.any():
            # No room between skin and muscle: another breast.
            tissue = make_tissue(rng, probe)
            add_lesion(rng, probe, tissue, label)
    return _Scene(label, probe, machine, tissue, draw_scatterers(rng, probe, machine))


def _phantom(seed: int, case: int, scene: _Scene, picture: NDArray[Any], mask: NDArray[Any]) -> UsPhantom:
    # The same stream for every frame: what is burned in stays, while callipers follow the lesion.
    image, drawn = add_overlays(generator(seed, "us", case, "overlays"), picture, mask)
    settings = {
        "probe": scene.probe.shape,
        "overlays": drawn,
        **scene.tissue.kinds,
        "machine": scene.machine.settings(),
    }
    return UsPhantom(image, mask, scene.label, scene.probe.spacing, settings)


def _moved(picture: NDArray[Any], *, matrix: NDArray[Any], flags: int = cv2.INTER_LINEAR) -> NDArray[Any]:
    size = picture.shape[1::-1]
    return cv2.warpAffine(picture, matrix, size, flags=flags, borderMode=cv2.BORDER_REFLECT_101)


def _write_pngs(job: tuple[int, int, str], *, out: Path) -> None:
    seed, case, name = job
    phantom = make_us_phantom(seed, case)
    folder = out / phantom.label
    write_png(folder / f"{name}.png", phantom.image)
    count, parts = cv2.connectedComponents(phantom.mask)
    for number in range(1, max(count, 2)):
        suffix = "_mask" if number == 1 else f"_mask_{number - 1}"
        write_png(folder / f"{name}{suffix}.png", (parts == number).astype(np.uint8) * 255)


def _write_dicom(job: tuple[int, int, str], *, out: Path) -> None:
    from breastkit.dicom.write_us import write_us_dicom

    seed, case, _ = job
    name = f"us_{case + 1:03d}"
    still = make_us_phantom(seed, case)
    frames = list(make_us_cine(seed, case))
    for series, pictures in ((1, [still]), (2, frames)):
        write_us_dicom(
            out / name / ("still" if series == 1 else "cine") / f"{name}.dcm",
            np.stack([phantom.image for phantom in pictures]),
            spacing=still.spacing,
            patient=name.upper(),
            uid_seed=f"{seed} {case}",
            series_number=series,
            frame_time=FRAME_TIME_MS,
        )
    write_png(out / "masks" / f"{name}_mask.png", still.mask * 255)
    for number, frame in enumerate(frames, 1):
        write_png(out / "masks" / f"{name}_cine_mask_{number:02d}.png", frame.mask * 255)
