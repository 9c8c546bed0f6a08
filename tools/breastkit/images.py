"""Reading and writing images: NIfTI volumes with their affine, two-dimensional pictures of any mode.

Volumes are arrays in the file's own axis order (i, j, k) with an affine to nibabel's RAS+ world; pictures are arrays
of rows and columns. Whatever cannot be used is refused with one sentence that names the file and the remedy.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from isal import igzip, isal_zlib
from numpy.typing import NDArray

from breastkit.atomic import atomic_path
from breastkit.errors import BreastkitError
from breastkit.volume_order import in_fortran_order

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Image
    from PIL.Image import Image as Picture

VOLUME_SUFFIXES = (".nii.gz", ".nii")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
IMAGE_SUFFIXES = (*VOLUME_SUFFIXES, *PICTURE_SUFFIXES)
DICOM_SUFFIXES = (".dcm", ".ima")

_FETCH_AGAIN = "copy or export it again"
# The types that come with the library take the class for one of its errors.
_ISAL_ERROR: type[Exception] = isal_zlib.error  # type: ignore[assignment]
# Pictures of more pixels than this are refused before they are decoded: they are damaged headers or whole-slide scans,
# not ultrasound. Networks need seventy bytes for each pixel.
MOST_PIXELS = 2**24
# Red, green and blue that differ by more than compression makes them; and modes that have no colour.
_COLOURED = 30
_GRAY_MODES = ("1", "L", "LA", "I", "F")


@dataclass(frozen=True)
class Image:
    """A volume in memory.

    Attributes:
        array: (i, j, k).
        affine: 4x4 voxel-to-world matrix in RAS+ millimetres.
        path: the file or DICOM folder it came from.
    """

    array: NDArray[Any]
    affine: NDArray[Any]
    path: Path

    @property
    def spacing(self) -> NDArray[Any]:
        """Voxel edge lengths in millimetres along the array's axes."""
        lengths: NDArray[Any] = np.linalg.norm(self.affine[:3, :3], axis=0)
        return lengths


@dataclass(frozen=True)
class Header:
    """What is known of an image without reading its pixels."""

    shape: tuple[int, ...]
    affine: NDArray[Any] | None


def stem(path: str | Path) -> str:
    """Returns a file name without its image suffix: ``a.b.nii.gz`` gives ``a.b``; a folder's name stays whole."""
    name = Path(path).name
    for suffix in (*IMAGE_SUFFIXES, *DICOM_SUFFIXES):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def is_volume(path: str | Path) -> bool:
    """Tells whether a file is a NIfTI volume by its name."""
    return str(path).lower().endswith(VOLUME_SUFFIXES)


def read_header(path: str | Path) -> Header:
    """Reads an image's shape and, for volumes, affine; the pixels are not decoded.

    Raises:
        BreastkitError: if the file is missing, empty, truncated or not an image.
    """
    path = _existing(path)
    if is_volume(path):
        image = _parse_nifti(path, _inflate_start(path))
        _check_length(path, image)
        return Header(tuple(image.shape), image.affine)
    from PIL import Image as Pictures

    try:
        with Pictures.open(path) as picture:
            _refuse_too_many_pixels(picture, path)
            header = Header((picture.height, picture.width), None)
            picture.verify()
            return header
    except (OSError, ValueError, SyntaxError, Pictures.DecompressionBombError) as error:
        raise _not_a_picture(path) from error


def read_volume(path: str | Path, *, mask: bool = False) -> Image:
    """Reads a three-dimensional NIfTI file.

    Args:
        path: ``.nii`` or ``.nii.gz``.
        mask: read a binary mask: any number of slices, only 0 and 1 as values, returned as uint8.

    Returns:
        The volume; integers stay integers, scaled data become float32.

    Raises:
        BreastkitError: if the file is missing, empty, truncated, no NIfTI, not three-dimensional, of one slice or one
            value, or holds NaNs or an affine that gives no position.
    """
    path = _existing(path)
    image = _parse_nifti(path, _inflate(path))
    if len(image.shape) > 3 and all(size == 1 for size in image.shape[3:]):
        image = image.slicer[(slice(None),) * 3 + (0,) * (len(image.shape) - 3)]
    if len(image.shape) != 3:
        raise BreastkitError(
            f"{path} has {len(image.shape)} dimensions {tuple(image.shape)}, three are needed; "
            "save one phase or channel of it."
        )
    if min(image.shape) < 2:
        raise BreastkitError(
            f"{path} has a single slice {tuple(image.shape)}, a volume is needed; export the whole series."
        )
    check_affine(image.affine, path)
    try:
        array = np.asanyarray(image.dataobj)
    except (OSError, ValueError, EOFError) as error:
        raise BreastkitError(f"{path} is truncated; {_FETCH_AGAIN}.") from error
    if not (np.issubdtype(array.dtype, np.integer) or np.issubdtype(array.dtype, np.floating)):
        raise BreastkitError(f"{path} holds {array.dtype} values, plain numbers are needed; save one channel of it.")
    if np.issubdtype(array.dtype, np.floating):
        array = array.astype(np.float32, copy=False)
        if not np.isfinite(array).all():
            raise BreastkitError(f"{path} holds NaN or infinite values; replace them by 0 and save it again.")
    if mask:
        array = _binary(array, path)
    elif array.min() == array.max():
        raise BreastkitError(f"{path} has the same value everywhere; export the scan again.")
    return Image(array, np.asarray(image.affine, dtype=np.float64), path)


def check_affine(affine: NDArray[Any] | None, path: Path) -> None:
    """Raises `BreastkitError` unless an affine places voxels in the world."""
    if affine is None or not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise BreastkitError(
            f"{path} has an affine without volume, so its position is unknown; convert it from DICOM again."
        )


def write_nifti(path: str | Path, array: NDArray[Any], affine: NDArray[Any], *, like: str | Path | None = None) -> Path:
    """Writes a volume in one piece, compressed when the name ends in ``.gz``.

    Args:
        path: the file to write.
        array: (i, j, k); booleans become uint8.
        affine: 4x4 voxel-to-world matrix, RAS+.
        like: a NIfTI file on the same grid whose qform and sform are taken over as they are.
    """
    import nibabel

    array = np.asarray(array)
    # As it lies in the file: nibabel would take it from memory number by number.
    array = in_fortran_order(array.astype(np.uint8) if array.dtype == bool else array)
    image = nibabel.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm", "sec")
    if like is None:
        # Both transforms say the same, since some viewers read one and some the other.
        image.set_qform(affine, code=1)
        image.set_sform(affine, code=1)
    else:
        header = _parse_nifti(Path(like), _inflate_start(Path(like))).header
        image.set_qform(header.get_qform(), code=int(header["qform_code"]))
        image.set_sform(header.get_sform(), code=int(header["sform_code"]))
    with atomic_path(path) as temporary:
        data = image.to_bytes()
        # Level 1 costs a quarter of the time of level 9 and a few per cent in size; no time in the header, so that the
        # same volume gives the same file.
        temporary.write_bytes(igzip.compress(data, 1, mtime=0) if str(path).endswith(".gz") else data)
    return Path(path)


def read_gray(path: str | Path) -> NDArray[np.uint8]:
    """Reads a picture of any mode as 8-bit gray, rows by columns, without transparency; of animations the first frame.

    Sixteen-bit pictures are scaled by their own range, since few use all of it.

    Raises:
        BreastkitError: if the file is missing, empty, damaged or no picture.
    """
    picture = _open_picture(path)
    if picture.mode.startswith(("I", "F")):
        values = np.asarray(picture).astype(np.float32)
        low, high = float(values.min()), float(values.max())
        return ((values - low) * (255.0 / max(high - low, 1e-6))).round().astype(np.uint8)
    return np.asarray(_without_transparency(picture).convert("L"))


def colour_share(pixels: NDArray[Any]) -> float:
    """Returns the share of pixels, red, green and blue in the last axis, that are clearly not gray."""
    rgb = pixels[..., :3].astype(np.int16)
    return float((rgb.max(-1) - rgb.min(-1) > _COLOURED).mean())


def read_colour_share(path: str | Path) -> float:
    """Returns the share of a picture's pixels that are clearly not gray.

    Raises:
        BreastkitError: as `read_gray`.
    """
    picture = _open_picture(path)
    if picture.mode.startswith(_GRAY_MODES):
        return 0.0
    return colour_share(np.asarray(_without_transparency(picture).convert("RGB")))


def read_mask(path: str | Path) -> NDArray[np.uint8]:
    """Reads a picture of a mask as 0 and 1, uint8: bright is inside; the alpha channel is never the mask.

    Raises:
        BreastkitError: as `read_gray`.
    """
    picture = _open_picture(path)
    if picture.mode.startswith(("I", "F")):
        values = np.asarray(picture).astype(np.float32)
    else:
        values = np.asarray(_without_transparency(picture).convert("L")).astype(np.float32)
    top = float(values.max(initial=0))
    # Labels saved as 0/1 are as common as 0/255; grey edges of resized or JPEG masks are cut in the middle.
    return (values > (0.5 * top if top <= 1 else 127 if top <= 255 else 0.5 * top)).astype(np.uint8)


def write_png(path: str | Path, array: NDArray[Any]) -> Path:
    """Writes an 8-bit picture, gray (rows, columns) or colour (rows, columns, 3), in one piece."""
    import cv2

    array = np.ascontiguousarray(array, dtype=np.uint8)
    # Ten times as fast as Pillow for files of the same size; OpenCV wants blue first.
    _, encoded = cv2.imencode(".png", array[..., ::-1] if array.ndim == 3 else array)
    with atomic_path(path) as temporary:
        temporary.write_bytes(encoded.tobytes())
    return Path(path)


def same_grid(first: Header | Image, second: Header | Image, *, tolerance_mm: float = 1e-2) -> bool:
    """Tells whether two images have the same shape and, where both have one, the same affine."""
    shapes = [item.shape if isinstance(item, Header) else item.array.shape for item in (first, second)]
    if tuple(shapes[0]) != tuple(shapes[1]):
        return False
    return first.affine is None or second.affine is None or np.allclose(first.affine, second.affine, atol=tolerance_mm)


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if path.is_dir():
        raise BreastkitError(f"{path} is a folder, a file is needed; name one image in it.")
    if not path.exists():
        raise BreastkitError(f"{path} does not exist; check the path.")
    if path.stat().st_size == 0:
        raise BreastkitError(f"{path} is empty; {_FETCH_AGAIN}.")
    return path


def _inflate(path: Path) -> bytes:
    data = path.read_bytes()
    if data[:2] != b"\x1f\x8b":
        return data
    try:
        inflated: bytes = igzip.decompress(data)
        return inflated
    except (OSError, EOFError, zlib.error, _ISAL_ERROR) as error:
        raise BreastkitError(f"{path} is truncated or damaged; {_FETCH_AGAIN}.") from error


def _inflate_start(path: Path) -> bytes:
    """Returns the first kilobytes of the decompressed file, enough for the header."""
    with path.open("rb") as stream:
        start = stream.read(65536)
    if start[:2] != b"\x1f\x8b":
        return start
    try:
        return isal_zlib.decompressobj(wbits=31).decompress(start, 4096)
    except _ISAL_ERROR as error:
        raise BreastkitError(f"{path} is truncated or damaged; {_FETCH_AGAIN}.") from error


def _parse_nifti(path: Path, data: bytes) -> Nifti1Image:
    import nibabel
    from nibabel.filebasedimages import ImageFileError
    from nibabel.imageglobals import LoggingOutputSuppressor
    from nibabel.spatialimages import HeaderDataError, ImageDataError
    from nibabel.wrapstruct import WrapStructError

    kind = nibabel.Nifti2Image if data[:4] in (b"\x1c\x02\x00\x00", b"\x00\x00\x02\x1c") else nibabel.Nifti1Image
    try:
        # nibabel tells of every odd field before it refuses; one sentence is enough.
        with LoggingOutputSuppressor():
            return kind.from_bytes(data)
    except (WrapStructError, HeaderDataError, ImageDataError, ImageFileError, OSError, ValueError) as error:
        raise BreastkitError(f"{path} is not a NIfTI file although it is named so; {_FETCH_AGAIN}.") from error


def _check_length(path: Path, image: Nifti1Image) -> None:
    """Compares the file's length, or the length the gzip trailer states, with what the header promises."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        if stream.read(2) == b"\x1f\x8b":
            stream.seek(-4, 2)
            size = int.from_bytes(stream.read(4), "little")
    voxels: Any = image.dataobj
    needed = int(voxels.offset + np.prod(image.shape, dtype=np.int64) * voxels.dtype.itemsize)
    # The gzip trailer keeps the length modulo 2^32; a little may follow the voxels, a truncated file ends in noise.
    if not 0 <= (size - needed) % 2**32 < 2**20:
        raise BreastkitError(f"{path} is truncated; {_FETCH_AGAIN}.")


def _binary(array: NDArray[Any], path: Path) -> NDArray[np.uint8]:
    values = _distinct(array)
    if set(values) - {0.0, 1.0}:
        shown = ", ".join(f"{value:g}" for value in values[:5])
        raise BreastkitError(
            f"{path} holds other values than 0 and 1 ({shown}…); save the wanted label as 1 and the rest as 0."
        )
    return array.astype(np.uint8)


def _distinct(array: NDArray[Any]) -> Sequence[float]:
    # A mask has few values; a scan named as a mask has thousands, of which a sample says enough.
    low, high = float(array.min()), float(array.max())
    if {low, high} <= {0.0, 1.0} and np.issubdtype(array.dtype, np.integer):
        return sorted({low, high})
    values: list[float] = np.unique(array)[:1000].astype(float).tolist()
    return values


def _open_picture(path: str | Path) -> Picture:
    from PIL import Image as Pictures

    path = _existing(path)
    try:
        picture = Pictures.open(path)
        _refuse_too_many_pixels(picture, path)
        if min(picture.size) < 2:
            raise BreastkitError(f"{path} is only {picture.width}x{picture.height} pixels; give the image itself.")
        picture.seek(0)
        picture.load()
    except (OSError, ValueError, SyntaxError, EOFError, Pictures.DecompressionBombError) as error:
        raise _not_a_picture(path) from error
    return picture


def _refuse_too_many_pixels(picture: Picture, path: Path) -> None:
    if picture.width * picture.height > MOST_PIXELS:
        raise BreastkitError(f"{path} has {picture.width}x{picture.height} pixels, too many; crop or shrink it.")


def _without_transparency(picture: Picture) -> Picture:
    # Converting a palette with transparency to gray directly would blend it with black.
    if picture.mode in ("P", "PA", "RGBA", "CMYK"):
        return picture.convert("RGB")
    return picture.convert("L") if picture.mode == "LA" else picture


def _not_a_picture(path: Path) -> BreastkitError:
    return BreastkitError(f"{path} is damaged or not a picture; {_FETCH_AGAIN}.")
