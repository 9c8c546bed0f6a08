"""Label maps as files: written for viewers, read from them onto the grid of their image."""

from __future__ import annotations

import re
import zlib
from pathlib import Path
from typing import Any

import nrrd
import numpy as np
from numpy.typing import NDArray

from breastkit.atomic import atomic_path
from breastkit.errors import BreastkitError
from breastkit.images import VOLUME_SUFFIXES, check_affine, write_nifti, write_png
from breastkit.server.security.decompressed_sizes import BESIDE, BYTES_PER_VOXEL, refuse_growing_volume, refuse_larger
from breastkit.server.studies.study_images import Grid

SUFFIXES = (".nrrd", *VOLUME_SUFFIXES, ".png")
_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
# By how much a label may be finer than its image.
_TIMES_THE_IMAGE = 8
_LARGEST_HEADER = 64 * 1024
# Share of a label that may lie outside of its image: rims of resampled masks.
_MAY_BE_LOST = 0.01
# Shares of a voxel by which two grids may differ and still be the same: headers round.
_SAME = 0.05


def write_labels(path: str | Path, labels: NDArray[Any], affine: NDArray[Any], *, compress: bool = True) -> Path:
    """Writes a label map as NRRD, NIfTI or, of one picture, PNG, by the name's suffix.

    Args:
        path: the file to write.
        labels: [column, row, slice], uint8.
        affine: RAS+.
        compress: NRRD with gzip.

    Raises:
        BreastkitError: if there are several slices for a PNG.
    """
    path = Path(path)
    labels = np.asarray(labels, dtype=np.uint8)
    if path.name.endswith(".png"):
        if labels.shape[2] != 1:
            raise BreastkitError(f"{path.name} would hold {labels.shape[2]} slices; ask for .nrrd or .nii.gz.")
        return write_png(path, labels[:, :, 0].T)
    if not path.name.endswith(".nrrd"):
        return write_nifti(path, labels, affine)
    lps = _LPS @ affine
    header = {
        "space": "left-posterior-superior",
        "space directions": lps[:3, :3].T,
        "space origin": lps[:3, 3],
        "kinds": ["domain", "domain", "domain"],
        "encoding": "gzip" if compress else "raw",
    }
    with atomic_path(path) as temporary:
        # In the order of the file: pynrrd would bring it there itself, and nothing else runs for as long.
        nrrd.write(str(temporary), np.asfortranarray(labels), header)
    return path


def read_labels(path: str | Path, grid: Grid, *, name: str) -> NDArray[Any]:
    """Reads a label map a client sent, onto the grid of its image.

    Args:
        path: NRRD, NIfTI, or PNG for a picture.
        grid: of the image.
        name: of the image, for sentences.

    Returns:
        [column, row, slice], uint8.

    Raises:
        BreastkitError: if the file is no label map or lies outside of the image.
    """
    path = Path(path)
    if not path.name.lower().endswith(SUFFIXES):
        raise BreastkitError(f"Labels are {', '.join(SUFFIXES)}; send one of these.")
    try:
        array, affine = _read(path, grid)
    except BreastkitError as error:
        # Whoever sent it does not know by which name it lies here.
        raise BreastkitError(str(error).replace(str(path), f"The label of '{name}'")) from error
    except Exception as error:  # parsers of what a stranger sent raise whatever they like
        raise BreastkitError(f"The label of '{name}' is damaged or of another format; save it again.") from error
    labels = _checked(array, name)
    if affine is None:
        if labels.shape != grid.shape:
            raise BreastkitError(
                f"The label has {labels.shape[0]}x{labels.shape[1]} pixels, '{name}' "
                f"{grid.shape[0]}x{grid.shape[1]}; draw it on that picture."
            )
        return labels
    return _onto(labels, affine, grid, name)


def base_name(name: str) -> str:
    """Returns what a label is called without its number: ``Lesion 2`` is a ``lesion``."""
    return name.lower().rstrip(" 0123456789_")


def labels_of(path: Path) -> NDArray[Any]:
    """Returns a label map [column, row, slice].

    Raises:
        BreastkitError: if it is damaged.
    """
    if path.suffix == ".png":
        import cv2

        picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if picture is None or picture.ndim != 2:
            raise BreastkitError(f"{path.name} is damaged; save the label again.")
        return picture.T[:, :, None]
    import nibabel

    try:
        return np.asarray(nibabel.Nifti1Image.from_filename(path).dataobj)
    except (OSError, ValueError, EOFError, zlib.error, nibabel.filebasedimages.ImageFileError) as error:
        raise BreastkitError(f"{path.name} is damaged; save the label again.") from error


def _read(path: Path, grid: Grid) -> tuple[NDArray[Any], NDArray[Any] | None]:
    if path.name.lower().endswith(".png"):
        return _read_picture(path, grid), None
    if path.name.lower().endswith(".nrrd"):
        return _read_nrrd(path, grid)
    import nibabel

    _refuse_huge(refuse_growing_volume(path), grid)
    image: Any = nibabel.load(path)
    check_affine(image.affine, path)
    return _volume(np.asanyarray(image.dataobj)), np.asarray(image.affine, dtype=np.float64)


def _read_picture(path: Path, grid: Grid) -> NDArray[Any]:
    from PIL import Image

    with Image.open(path) as picture:
        _refuse_huge(picture.size, grid)
        if picture.mode not in ("1", "L", "P", "I;16", "I"):
            raise BreastkitError("A label as PNG is gray, one number a pixel; save it as such.")
        array = np.asarray(picture).T[:, :, None]
    # Masks of 0 and 255 are as common as those of 0 and 1.
    return array // 255 if set(np.unique(array)) <= {0, 255} else array


def _read_nrrd(path: Path, grid: Grid) -> tuple[NDArray[Any], NDArray[Any]]:
    with path.open("rb") as file:
        # nrrd reads on until an empty line, however far that is.
        if re.search(rb"\r?\n\r?\n", file.read(_LARGEST_HEADER)) is None:
            raise BreastkitError("The label has no header of NRRD; save it again.")
        file.seek(0)
        header = nrrd.read_header(file)
        _refuse_huge(header["sizes"], grid)
        if {"data file", "datafile", "line skip", "lineskip", "byte skip", "byteskip"} & set(header):
            raise BreastkitError("The label keeps its voxels in another file or further on; save it as one file.")
        if header["encoding"] not in ("raw", "gzip", "gz"):
            raise BreastkitError(f"The label's encoding is '{header['encoding'][:40]}'; save it as raw or gzip.")
        if header["encoding"] != "raw":
            refuse_larger(file.read(), BYTES_PER_VOXEL * _voxels(grid.shape) + BESIDE)
    array, header = nrrd.read(str(path))
    return _volume(array), _nrrd_affine(header, path)


def _voxels(shape: Any) -> int:
    # As fractions, which do not overflow.
    return int(np.prod([int(size) for size in shape], dtype=np.float64))


def _refuse_huge(sizes: Any, grid: Grid) -> None:
    if not 0 < _voxels(sizes) <= _TIMES_THE_IMAGE * _voxels(grid.shape):
        shown = "x".join(str(int(size)) for size in sizes)[:60]
        raise BreastkitError(f"The label has {shown} voxels, far from those of its image; save the one of this image.")


def _volume(array: NDArray[Any]) -> NDArray[Any]:
    array = array.reshape(*array.shape, *[1] * (3 - array.ndim)) if array.ndim < 3 else array
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim != 3:
        raise BreastkitError(f"The label has {array.ndim} dimensions; save it as one label map without overlaps.")
    return array


def _nrrd_affine(header: dict[str, Any], path: Path) -> NDArray[Any]:
    directions = np.zeros((3, 3))
    rows = np.asarray(header.get("space directions", np.eye(3)), dtype=np.float64)
    directions[: rows.shape[0], : rows.shape[1]] = rows
    if rows.shape[0] == 2:
        directions[2] = np.cross(directions[0], directions[1]) / np.linalg.norm(directions[0])
    affine = np.eye(4)
    affine[:3, :3] = directions.T
    origin = np.asarray(header.get("space origin", np.zeros(3)), dtype=np.float64)
    affine[: len(origin), 3] = origin
    space = str(header.get("space", "left-posterior-superior")).lower()
    if space in ("left-posterior-superior", "lps"):
        affine = _LPS @ affine
    elif space not in ("right-anterior-superior", "ras"):
        raise BreastkitError(f"The label lies in the space '{space[:40]}'; save it in LPS or RAS.")
    check_affine(affine, path)
    return affine


def _checked(array: NDArray[Any], name: str) -> NDArray[Any]:
    if array.dtype.kind not in "biuf":
        raise BreastkitError(f"The label of '{name}' holds no numbers; save a label map.")
    if array.dtype.kind == "f" and not (np.isfinite(array).all() and (array == np.round(array)).all()):
        raise BreastkitError(f"The label of '{name}' holds fractions; save whole numbers, one for each label.")
    if array.size and (array.min() < 0 or array.max() > 255):
        raise BreastkitError(f"The label of '{name}' holds numbers beyond 0 to 255; it is an image, not a label map.")
    return array.astype(np.uint8)


def _onto(labels: NDArray[Any], affine: NDArray[Any], grid: Grid, name: str) -> NDArray[Any]:
    """Returns labels on the image's grid by the nearest voxel; refuses what lies outside."""
    to_label = np.linalg.inv(affine) @ grid.affine
    if labels.shape == grid.shape and _close(to_label, labels.shape):
        return labels
    filled = np.argwhere(labels > 0)
    if not len(filled):
        return np.zeros(grid.shape, np.uint8)
    places = filled @ np.linalg.inv(to_label)[:3, :3].T + np.linalg.inv(to_label)[:3, 3]
    slack = 0.5 * np.maximum(1.0, np.abs(np.linalg.inv(to_label)[:3, :3]).sum(axis=1)) + 1e-3
    outside = ((places < -slack) | (places > np.array(grid.shape) - 1 + slack)).any(axis=1).mean()
    if outside == 1.0:
        raise BreastkitError(f"The label lies nowhere in '{name}'; it belongs to another image.")
    if outside > _MAY_BE_LOST:
        raise BreastkitError(f"The label reaches out of '{name}' with {100 * outside:.2g} %; draw it on this image.")
    from scipy import ndimage

    moved: NDArray[Any] = ndimage.affine_transform(
        labels, np.round(to_label[:3, :3], 9), to_label[:3, 3], grid.shape, order=0, mode="grid-constant"
    )
    return moved


def _close(to_label: NDArray[Any], shape: tuple[int, ...]) -> bool:
    # How far the outermost corner moves, in voxels.
    reach = np.abs(to_label[:3, :3] - np.eye(3)) @ (np.array(shape) - 1) + np.abs(to_label[:3, 3])
    return bool((reach < _SAME).all())
