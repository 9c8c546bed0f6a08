"""Folders of breast MRI phantoms in the layouts of public data sets: tissue, MAMA-MIA, DICOM."""

from __future__ import annotations

import io
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from breastkit.atomic import atomic_path, make_folder, write_json, write_text
from breastkit.errors import BreastkitError
from breastkit.images import write_nifti
from breastkit.phantoms.mri.case import MriPhantom, make_mri_phantom
from breastkit.phantoms.mri.clinical import COLUMNS
from breastkit.phantoms.mri.glands import check_glands
from breastkit.phantoms.mri.lesions import check_shapes
from breastkit.progress import parallel_map

LAYOUTS = ("tissue", "mamamia")
_RECORD = "phantoms.json"
# Everything this module writes, so that a set can be replaced by another without mixing the two.
_WRITTEN = ("train", "inference", "truth", "images", "segmentations", "case_*", "clinical*", "train_test_splits.csv")


def write_mri_phantoms(
    out: str,
    *,
    cases: int = 6,
    seed: int = 0,
    layout: str = "tissue",
    dicom: bool = False,
    lying_headers: bool = False,
    size: int | None = None,
    slices: int | None = None,
    shapes: str | None = None,
    glands: str = "usual",
    workers: int | None = None,
) -> dict[str, Any]:
    """Writes breast MRI phantoms, studies the computer makes up, with their truth.

    The tissue layout holds the first post-contrast phase and the masks of breast and glands of each case in
    train/scans, train/masks and train/glands, a third as many further cases in inference/..., and clinical.csv. The
    mamamia layout holds all phases in images/, the lesions in segmentations/expert/, clinical_and_imaging_info.xlsx and
    train_test_splits.csv. Beside either, phantoms.json says of each case what was drawn, and truth/ holds the masks
    that the layout has no place for. A set that stands in the folder already is replaced.

    Args:
        out: the folder to write.
        cases: how many cases to train with.
        seed: another seed gives other cases, the same seed the same ones.
        layout: tissue or mamamia.
        dicom: write OUT/CASE/SERIES/*.dcm with one series per phase instead, and all masks in truth/.
        lying_headers: flip some arrays without telling the header, as in badly converted sets.
        size: number of columns and rows of the scans, for small and quick ones; about 256 by default.
        slices: number of slices, over the same height; by default as many as make voxels of usual proportions.
        shapes: lesions of these shapes alone, separated by commas, each as often: round, lobulated, irregular,
            spiculated, non_mass; by default as often as patients of a subtype have the first four.
        glands: usual, or varied: amount, pattern and brightness of fibroglandular tissue drawn more widely.
        workers: number of processes; all cores by default.

    Returns:
        What was written: the folder, the number of cases and of lesions.

    Raises:
        BreastkitError: if an option makes no sense or the folder cannot be written.
    """
    if layout not in LAYOUTS:
        raise BreastkitError(f"{layout} is no layout of phantoms; give one of {', '.join(LAYOUTS)}.")
    if isinstance(cases, bool) or not isinstance(cases, int) or cases < 1:
        raise BreastkitError(f"{cases} cases cannot be made; give a whole number from 1 up.")
    if size is not None and (not isinstance(size, int) or size < 12):
        raise BreastkitError(f"A size of {size} is too small to show a breast; give at least 12.")
    if slices is not None and (not isinstance(slices, int) or slices < 4):
        raise BreastkitError(f"{slices} slices are too few to show a breast; give at least 4.")
    check_glands(glands)
    wanted = None if shapes is None else check_shapes([name.strip() for name in shapes.split(",")])
    root = _empty_folder(Path(out))
    further = max(1, cases // 3) if layout == "tissue" and not dicom else 0
    options = (layout, dicom, lying_headers, size, slices, wanted, glands)
    jobs = [_Job(str(root), seed, n + 1, n < cases, *options) for n in range(cases + further)]
    rows = parallel_map(_write_case, jobs, "Making MRI phantoms", workers=workers, unit="case")
    _write_tables(root, rows, layout, dicom)
    return {"folder": str(root), "cases": len(rows), "lesions": sum(len(row["lesions"]) for row in rows)}


def _empty_folder(root: Path) -> Path:
    """Makes the folder, without the phantoms that an earlier call left there; what others put there stays."""
    standing = [path for pattern in _WRITTEN for path in root.glob(pattern)]
    if standing and not (root / _RECORD).is_file():
        raise BreastkitError(f"{root} holds {standing[0].name} that is not of phantoms; choose another folder.")
    for path in standing:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    # The record marks the folder as ours even if this run is interrupted.
    write_json(make_folder(root) / _RECORD, [])
    return root


@dataclass(frozen=True)
class _Job:
    root: str
    seed: int
    number: int
    training: bool
    layout: str
    dicom: bool
    lying_headers: bool
    size: int | None
    slices: int | None
    shapes: tuple[str, ...] | None
    glands: str

    def phantom(self) -> MriPhantom:
        size = self.size if self.size is not None or self.slices is None else 256
        shape = None if size is None else (size, size, self.slices or max(8, round(size * 0.375)))
        # Two of three headers lie where lying is asked for, so that honest ones must be left alone.
        lie = self.lying_headers and self.number % 3 != 0
        return make_mri_phantom(self.seed, self.number, shape=shape, lie=lie, shapes=self.shapes, glands=self.glands)


def _write_case(job: _Job) -> dict[str, Any]:
    """Makes and writes one case; returns what the tables need to know of it."""
    phantom = job.phantom()
    root = Path(job.root)
    if job.dicom:
        name, files = _write_dicom(root, job, phantom)
    elif job.layout == "mamamia":
        name, files = _write_mamamia(root, job, phantom)
    else:
        name, files = _write_tissue(root, job, phantom)
    for relative, array in files.items():
        write_nifti(root / relative, array, phantom.affine)
    return {
        "name": name,
        "training": job.training,
        "times_s": phantom.times_s,
        "lesions": phantom.lesion_table,
        "clinical": phantom.clinical,
        "settings": phantom.settings,
    }


def _write_tissue(root: Path, job: _Job, phantom: MriPhantom) -> tuple[str, dict[str, NDArray[Any]]]:
    name = f"case_{job.number:03d}"
    part = "train" if job.training else "inference"
    return name, {
        f"{part}/scans/{name}.nii.gz": phantom.phases[1],
        f"{part}/masks/{name}.nii.gz": phantom.breast,
        f"{part}/glands/{name}.nii.gz": phantom.fibroglandular,
        f"truth/lesions/{name}.nii.gz": phantom.lesions,
    }


def _write_mamamia(root: Path, job: _Job, phantom: MriPhantom) -> tuple[str, dict[str, NDArray[Any]]]:
    name = f"DUKE_{job.number:03d}"
    low = name.lower()
    files = {f"images/{name}/{low}_{n:04d}.nii.gz": volume for n, volume in enumerate(phantom.phases)}
    files[f"segmentations/expert/{low}.nii.gz"] = (phantom.lesions > 0).astype(np.uint8)
    files[f"truth/breast/{low}.nii.gz"] = phantom.breast
    files[f"truth/fibroglandular/{low}.nii.gz"] = phantom.fibroglandular
    files[f"truth/lesions/{low}.nii.gz"] = phantom.lesions
    return name, files


def _write_dicom(root: Path, job: _Job, phantom: MriPhantom) -> tuple[str, dict[str, NDArray[Any]]]:
    from breastkit.dicom.write_mr import MrStudy, write_mr_series

    name = f"case_{job.number:03d}"
    scan = phantom.settings["scan"]
    study = MrStudy(
        patient_id=f"PHANTOM_{job.number:03d}",
        uid_source=f"breastkit MRI phantom {job.seed} {job.number}",
        description="Breast MRI phantom",
        age_years=phantom.settings["age"],
        fat_suppressed=scan["fat_suppression"] != "none",
    )
    for n, volume in enumerate(phantom.phases):
        description = "ax dyn pre" if n == 0 else f"ax dyn post {n}"
        folder = root / name / ("pre" if n == 0 else f"post_{n}")
        write_mr_series(
            folder,
            volume,
            phantom.affine,
            study,
            number=n + 1,
            description=description,
            start_s=phantom.times_s[n],
            contrast=n > 0,
        )
    return name, {
        f"truth/{kind}/{name}.nii.gz": getattr(phantom, kind) for kind in ("breast", "fibroglandular", "lesions")
    }


def _write_tables(root: Path, rows: list[dict[str, Any]], layout: str, dicom: bool) -> None:
    """Writes the clinical table and what was drawn."""
    import pandas as pd

    write_json(root / _RECORD, rows)
    table = pd.DataFrame([row["clinical"] for row in rows], columns=list(COLUMNS))
    for name in ("age", "er", "pr", "her2", "grade"):
        table[name] = table[name].astype("Int64")
    if layout == "tissue" or dicom:
        write_text(root / "clinical.csv", table.to_csv(index=False))
        return
    table = table.rename(columns={"subtype": "tumor_subtype", "grade": "nottingham_grade"})
    table["patient_id"] = [row["name"] for row in rows]
    table.insert(1, "dataset", "DUKE")
    table["acquisition_times"] = [str([round(t, 1) for t in row["times_s"]]) for row in rows]
    buffer = io.BytesIO()
    table.to_excel(buffer, index=False, sheet_name="dataset_info")
    with atomic_path(root / "clinical_and_imaging_info.xlsx") as temporary:
        temporary.write_bytes(buffer.getvalue())
    names = [row["name"] for row in rows]
    tests = names[-max(1, len(names) // 5) :] if len(names) > 1 else []
    split = {"train_split": [n for n in names if n not in tests], "test_split": tests}
    columns = {key: pd.Series(values, dtype=object) for key, values in split.items()}
    write_text(root / "train_test_splits.csv", pd.DataFrame(columns).to_csv(index=False))
