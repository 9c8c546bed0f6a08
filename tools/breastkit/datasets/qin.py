"""QIN Breast DCE-MRI: fast dynamic scans of ten patients, two visits each, to validate what was trained elsewhere.

As The Cancer Imaging Archive gives it: a folder a patient, in it studies, in them one series with some 32 volumes.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from breastkit.atomic import make_folder, write_json
from breastkit.datasets.dce_case import DceCase, DceRecipe
from breastkit.datasets.dce_set import check_options, previous_patients, write_dce_set
from breastkit.datasets.registry import DataSet
from breastkit.dce.phases import DEFAULT_CHANNELS, DcePhases, read_phases
from breastkit.dce.series import phases_among
from breastkit.dicom import FolderContents, Series, read_folder
from breastkit.errors import BreastkitError
from breastkit.images import VOLUME_SUFFIXES, read_volume, stem, write_nifti
from breastkit.progress import parallel_map

DATA_SET = DataSet(
    summary="slices of fast dynamic breast MRI to validate on: QIN Breast DCE-MRI",
    example="breastkit data prepare qin QIN-Breast-DCE-MRI work/qin",
    place=3,
)

# A mask that loses more than this share on its way onto the scan's grid does not belong there.
_LOST = 0.1
_FORMAT = 1


@dataclass(frozen=True)
class _Visit:
    """A study of a patient: ``name`` is the patient's folder and the number of the visit, by date."""

    name: str
    folder: Path
    contents: FolderContents


def prepare_qin(
    root: str | Path,
    out: str | Path,
    *,
    masks: str | Path | None = None,
    channels: str = DEFAULT_CHANNELS,
    image_size: int = 224,
    register: bool = False,
    shading: bool = False,
    workers: int | None = None,
) -> Path:
    """Writes slices of fast dynamic breast MRI with masks and boxes and a case list that is all test.

    Of every study the volume before contrast arrives and the one about 90 seconds after are taken, by signal and time;
    they are kept as NIfTI in OUT/studies. Visits are called after the patient's folder, such as BC01_1 and BC01_2.
    Studies that cannot be used are named in curation.csv. What an earlier run prepared is not done again.

    Args:
        root: the folder as downloaded, with a folder a patient.
        out: the folder to write.
        masks: folder of expert masks BC01_1.nii.gz and so on; by default DICOM segmentations beside the images.
        channels: pre-post-subtraction, or one of subtraction, post and pre.
        image_size: side of the squares that slices become.
        register: move the phase after contrast onto the one before it; the moved phases are kept in OUT/corrected.
        shading: take out the shading of the coils (N4), likewise.
        workers: processes to work with; all available cores by default.

    Returns:
        The path of the case list.

    Raises:
        BreastkitError: if the folder holds no study that can be used, or ``out`` holds another set.
    """
    check_options(channels, image_size, 1.0)
    root, out = Path(root), make_folder(out).absolute()
    split = {"set": "qin", "image_size": image_size, "channels": channels, "register": register, "shading": shading}
    previous_patients(out, split)
    if not root.is_dir():
        raise BreastkitError(f"{root} is not a folder; name the folder of the data set.")
    patients = sorted(path for path in root.iterdir() if path.is_dir() and path.name[0] != ".")
    listed = parallel_map(_visits, patients, "Looking for studies", workers=workers, unit="patient")
    curation = {path.name: found for path, found in zip(patients, listed, strict=True) if isinstance(found, str)}
    visits = [visit for found in listed if not isinstance(found, str) for visit in found]
    if not visits:
        raise BreastkitError(f"{root} holds no study: {next(iter(curation.values()), 'there is no folder in it.')}")
    drawn = _drawn_masks(masks)
    convert = partial(_convert, out=out / "studies", masks=drawn)
    cases = parallel_map(convert, visits, "Picking phases", workers=workers, unit="study")
    curation |= {visit.name: case for visit, case in zip(visits, cases, strict=True) if isinstance(case, str)}
    lists = {"training": [], "validation": [], "test": [(case, None) for case in cases if isinstance(case, DceCase)]}
    recipe = DceRecipe(out, image_size, channels, 0, bool(register), bool(shading))
    return write_dce_set(lists, recipe, curation=curation, negatives=1.0, split=split, workers=workers)


def _visits(patient: Path) -> list[_Visit] | str:
    """Returns the studies of a patient in time, or the sentence that says why there are none."""
    try:
        contents = read_folder(patient)
    except BreastkitError as error:
        return str(error)
    studies: dict[str, list[Series]] = defaultdict(list)
    for one in contents.series:
        studies[one.study].append(one)
    if not studies:
        return f"{patient} holds no MR series; fetch it again."
    ordered = sorted(studies.values(), key=lambda series: (series[0].date, min(one.time for one in series)))
    found = []
    for number, series in enumerate(ordered, start=1):
        folder = Path(os.path.commonpath([path.parent for one in series for path in one.files]))
        # With a single series the segmentation lies in a folder beside it.
        place = folder.parent if len(series) == 1 and folder != patient and folder.parent != patient else folder
        beside = tuple((path, why) for path, why in contents.skipped if place in path.parents)
        found.append(_Visit(f"{patient.name}_{number}", place, FolderContents(tuple(series), beside)))
    return found


def _drawn_masks(folder: str | Path | None) -> dict[str, Path] | None:
    if folder is None:
        return None
    folder = Path(folder)
    files = (
        [path for path in folder.iterdir() if path.name.lower().endswith(VOLUME_SUFFIXES)] if folder.is_dir() else []
    )
    if not files:
        raise BreastkitError(f"{folder} holds no NIfTI masks; name the folder with BC01_1.nii.gz and so on.")
    return {stem(path).lower(): path for path in files}


def _convert(visit: _Visit, *, out: Path, masks: dict[str, Path] | None) -> DceCase | str:
    """Writes the phases and the mask of a study as NIfTI; returns the sentence that says why it cannot be used."""
    folder = out / visit.name
    files = tuple(folder / f"{visit.name}_{end}.nii.gz" for end in ("0000", "0001", "mask"))
    record = folder / "study.json"
    try:
        source = _source(visit, masks)
        fingerprint = _fingerprint(visit, source)
        if record.is_file() and json.loads(record.read_text(encoding="utf-8"))["fingerprint"] == fingerprint:
            return DceCase(visit.name, files[:2], files[2])
        found = phases_among(visit.contents, visit.folder)
        phases = read_phases(found.all[:2])
        mask = _segmented(source, found.all[:2]) if masks is None else _onto(source[0], phases)
        make_folder(folder)
        for path, array in zip(files, phases.arrays, strict=False):
            write_nifti(path, phases.restore(array), phases.affine)
        write_nifti(files[2], mask, phases.affine)
        # Written last: a study without record is converted again, whatever an interrupted run left of it.
        write_json(record, {"fingerprint": fingerprint, "doubts": list(found.doubts)})
    except BreastkitError as error:
        return str(error)
    return DceCase(visit.name, files[:2], files[2])


def _source(visit: _Visit, masks: dict[str, Path] | None) -> list[Path]:
    """Returns where the mask of a study stands."""
    if masks is not None:
        if visit.name.lower() not in masks:
            raise BreastkitError(f"{visit.name} has no mask {visit.name}.nii.gz; add it or leave the study out.")
        return [masks[visit.name.lower()]]
    from breastkit.dicom.read_seg import is_segmentation

    found = [path for path, _ in visit.contents.skipped if is_segmentation(path)]
    if not found:
        raise BreastkitError(f"{visit.folder} holds no DICOM segmentation; add it or give --masks.")
    return found


def _fingerprint(visit: _Visit, masks: list[Path]) -> dict[str, Any]:
    files = [path for one in visit.contents.series for path in one.files] + masks
    stats = [path.stat() for path in files]
    newest = max(stat.st_mtime_ns for stat in stats)
    return {"format": _FORMAT, "files": len(files), "bytes": sum(stat.st_size for stat in stats), "newest": newest}


def _segmented(paths: list[Path], phases: list[Path | Series]) -> NDArray[Any]:
    """Returns what any segmentation of a study marks, drawn on whichever phase."""
    from breastkit.dicom.read_seg import read_segmentation

    masks: list[NDArray[np.bool_]] = []
    for path in paths:
        try:
            segments = read_segmentation(path, phases[1])
        except BreastkitError:
            segments = read_segmentation(path, phases[0])
        masks += [segment.mask >= 0.5 for segment in segments]
    marked: NDArray[np.uint8] = np.logical_or.reduce(masks).astype(np.uint8)
    return marked


def _onto(path: Path, phases: DcePhases) -> NDArray[Any]:
    """Returns a mask on the grid of the phases, whichever way its axes run."""
    import torch
    from monai.data import MetaTensor
    from monai.transforms import SpatialResample

    mask = read_volume(path, mask=True)
    own = MetaTensor(torch.from_numpy(mask.array[None].astype(np.float32)), affine=torch.from_numpy(mask.affine))
    laid = SpatialResample(mode="nearest", padding_mode="zeros")(
        own, dst_affine=torch.from_numpy(phases.affine), spatial_size=phases.shape
    )
    result = (np.asarray(laid[0]) > 0.5).astype(np.uint8)
    before, after = (
        float(np.count_nonzero(array) * abs(np.linalg.det(affine[:3, :3])))
        for array, affine in ((mask.array, mask.affine), (result, phases.affine))
    )
    if abs(after - before) > _LOST * before:
        raise BreastkitError(f"{path} does not lie in {phases.paths[0]}; give the mask drawn on this study.")
    return result
