"""Files and words that nobody would send, made from a seed: over every upload, those that fit their image included.

What fits gets past the first check of grid and identifiers, so that what lies behind it is tried too.
"""

import gzip
import io
import json
import random
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import nibabel
import nrrd
import numpy as np
import pydicom
from pydicom.uid import (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

MODEL = "breast_us_lesion_segmentation"
SHAPE, VOLUME = (40, 60), (24, 20, 6)
AFFINE = np.diag([2.0, 2.0, 3.0, 1.0])
_NAMES = [
    "lesion",
    "malignant",
    "",
    " ",
    "x" * 500,
    "\ud800",
    "<b>",
    "../..",
    "a\nb",
    "опухоль" * 20,
    "\x00",
    "$1+1",
    "😀",
]
_NUMBERS = [1, 2, 0, -1, 256, 255, 10**30, 1.5, float("nan"), None, "1", True, [], {}]
# Attributes of pictures and of segmentations, and what is put there.
_TAGS = {
    "NumberOfFrames": ["-1", "0", "1", "2", "1000000000", "1.5", ""],
    "Rows": [0, 1, 39, 65535],
    "Columns": [0, 1, 61, 65535],
    "BitsAllocated": [0, 1, 8, 12, 16, 64],
    "BitsStored": [0, 1, 8, 17],
    "SamplesPerPixel": [0, 1, 3, 255],
    "PixelRepresentation": [0, 1, 2],
    "PlanarConfiguration": [0, 1, 7],
    "PhotometricInterpretation": ["PALETTE COLOR", "RGB", "YBR_FULL_422", "YBR_ICT", "MONOCHROME1", "", "X" * 16],
    "SpecificCharacterSet": ["ISO_IR 999", "nonsense", "\\", "ISO 2022 IR 87", "GB18030"],
    "PatientID": ["", "x" * 64, "ü", "a\\b"],
    "InstanceNumber": ["-1", "999999999", "1.5", ""],
    "Modality": ["SEG", "MR", "US", "", "XX"],
    "WindowCenter": ["0", "nan", "1e400", "1\\2"],
    "WindowWidth": ["0", "-5", "1e-300", "inf"],
    "RescaleSlope": ["0", "1e308", "nan"],
    "RescaleIntercept": ["-1e308", "nan"],
    "SegmentationType": ["LABELMAP", "FRACTIONAL", "BINARY", "", "OTHER"],
    "MaximumFractionalValue": [0, 1, 255],
    "FrameOfReferenceUID": ["1.2.3", ""],
    "SOPClassUID": ["1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.66.4", "1.2", ""],
}  # fmt: skip
_SYNTAXES = [JPEG2000Lossless, JPEGBaseline8Bit, JPEGLSLossless, RLELossless, ImplicitVRLittleEndian]


@dataclass(frozen=True)
class HostileInput:
    """A request.

    Attributes:
        server: ``files`` or ``dicom``.
        method: of HTTP.
        path: with its parameters.
        options: as `requests` takes them.
        looks: addresses to ask afterwards, of what may be stored now.
    """

    server: str
    method: str
    path: str
    options: dict
    looks: list = field(default_factory=list)


class HostileInputs:
    """Makes requests.

    Args:
        seed: another one makes others.
        picture: an ultrasound object of the DICOM server.
        segmentations: whole ones, of that picture and of a series.
        series: the modality of both, by SeriesInstanceUID.
    """

    def __init__(self, seed, picture, segmentations, series):
        self.rng = random.Random(seed)
        self.numbers = np.random.default_rng(seed)
        self.picture, self.segmentations, self.series = picture, segmentations, series

    def __iter__(self):
        """Yields requests without end."""
        ways = [self._label, self._label, self._label, self._image, self._session, self._words]
        ways += [self._stored, self._stored, self._segmentation, self._segmentation]
        while True:
            # Networks take most of a second each.
            yield self._inference() if self.rng.random() < 0.01 else self.rng.choice(ways)()

    def _label(self):
        if self.rng.random() < 0.4:
            target = ("dicom", self.rng.choice(list(self.series)))
        else:
            target = ("files", self.rng.choice(["us", "mr", "mr", "no such"]))
        suffix, content = self._file(picture=self.series.get(target[1]) == "US" or target[1] == "us")
        data = {"params": self._params()} if self.rng.random() < 0.4 else {}
        path = f"/datastore/label?image={target[1]}" + self.rng.choice(["", "", "&tag=original", "&tag=own-tag_1"])
        return HostileInput(target[0], "PUT", path, {"files": {"label": (f"l{suffix}", content)}, "data": data})

    def _image(self):
        suffix, content = self._file()
        name = self.rng.choice(["new{}", "ü{}", "{}\n", "a/{}", "x" * 300, "4: T1 {}"]).format(
            self.rng.randrange(10**6)
        )
        given = {"params": {"image": name}, "files": {"file": (f"f{suffix}", self._bitten(content))}}
        return HostileInput("files", "PUT", "/datastore/image", given)

    def _session(self):
        files = [self._file() for _ in range(self.rng.choice([1, 1, 1, 2, 3]))]
        if self.rng.random() < 0.3:
            files = [(".dcm", self._picture()) for _ in files]
        given = [("files", (f"f{suffix}", content)) for suffix, content in files]
        return HostileInput("files", "PUT", "/session/", {"files": given})

    def _inference(self):
        suffix, content = self._file()
        path = f"/infer/{self.rng.choice([MODEL, 'breast_mri_tissue_segmentation'])}?output=json"
        return HostileInput("files", "POST", path, {"files": {"file": (f"f{suffix}", content)}})

    def _words(self):
        strategy = self.rng.choice(["first", "random", "mix", "nonsense"])
        body = {self.rng.choice(["seed", "client_id", "x"]): self._value(0) for _ in range(3)}
        given = {"data": json.dumps(body), "headers": {"Content-Type": "application/json"}}
        return HostileInput("files", "POST", f"/activelearning/{strategy}", given)

    def _stored(self):
        dataset_bytes, key = self._picture(with_key=True)
        return self._store(dataset_bytes, key)

    def _segmentation(self):
        whole = pydicom.dcmread(io.BytesIO(self.rng.choice(self.segmentations)))
        for _ in range(self.rng.choice([0, 1, 1, 2])):
            self._spoil_segments(whole)
        return self._store(*self._spoilt(whole, self.rng.choice([0, 0, 1])))

    def _spoil_segments(self, whole):
        rng = self.rng
        segment = rng.choice(list(whole.get("SegmentSequence") or [pydicom.Dataset()]))
        frames = list(whole.get("PerFrameFunctionalGroupsSequence") or [pydicom.Dataset()])
        match rng.randrange(8):
            case 0:
                segment.SegmentNumber = rng.choice([0, 2, 255, 256, 65535])
            case 1:
                segment.SegmentLabel = rng.choice(["", "x" * 64, "ü", "malignant", "<b>"])
            case 2:
                for name in rng.sample(list(segment.dir()), k=min(2, len(segment))):
                    delattr(segment, name)
            case 3:
                frame = rng.choice(frames)
                for name in rng.sample(list(frame.dir()), k=min(1, len(frame))):
                    delattr(frame, name)
            case 4:
                whole.PerFrameFunctionalGroupsSequence = frames[: rng.randrange(len(frames) + 1)]
            case 5:
                delattr(whole, rng.choice([name for name in whole.dir() if name.endswith("Sequence")]))
            case 6:
                whole.SegmentSequence = []
            case 7:
                for frame in frames:
                    for place in frame.get("PlanePositionSequence") or ():
                        place.ImagePositionPatient = [rng.choice([0, 1e6, -1e30]) for _ in range(3)]

    def _picture(self, *, with_key=False):
        content, key = self._spoilt(pydicom.dcmread(io.BytesIO(self.picture)), self.rng.choice([1, 1, 2, 3]))
        return (content, key) if with_key else content

    def _spoilt(self, dataset, changes):
        """Returns an object with new identifiers and wrong values, and where it lies once it is stored."""
        rng = self.rng
        dataset.SOPInstanceUID = generate_uid(entropy_srcs=[str(rng.random())])
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        if rng.random() < 0.5 and dataset.Modality != "SEG":
            dataset.SeriesInstanceUID = generate_uid(entropy_srcs=[str(rng.random())])
        key = (dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID)
        for name in rng.sample(list(_TAGS), k=changes):
            value = rng.choice(_TAGS[name])
            element = pydicom.DataElement(name, "UN", b"") if rng.random() < 0.05 else None
            if element is not None:
                dataset[name] = element
            elif isinstance(value, str):
                # As bytes, which pydicom does not look at before they are written.
                kind = pydicom.datadict.dictionary_VR(name)
                dataset._dict[pydicom.tag.Tag(name)] = pydicom.dataelem.RawDataElement(
                    pydicom.tag.Tag(name), kind, len(value), value.encode("utf-8"), 0, False, True
                )
            else:
                setattr(dataset, name, value)
        if rng.random() < 0.2 and "PixelData" in dataset:
            dataset.PixelData = dataset.PixelData[: rng.randrange(len(dataset.PixelData) + 1)]
        return self._bytes_of(dataset), key

    def _bytes_of(self, dataset):
        syntax = self.rng.choice(_SYNTAXES) if self.rng.random() < 0.15 else ExplicitVRLittleEndian
        if syntax.is_encapsulated and "PixelData" in dataset:
            dataset.PixelData = pydicom.encaps.encapsulate([self._encoded()])
            dataset["PixelData"].VR = "OB"
        file = io.BytesIO()
        try:
            dataset.file_meta.TransferSyntaxUID = syntax
            dataset.save_as(
                file, enforce_file_format=True, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=True
            )
        except Exception:  # what not even pydicom writes is cut off there
            return self._bitten(self.picture)
        return file.getvalue() if self.rng.random() < 0.9 else self._bitten(file.getvalue())

    def _encoded(self):
        """Returns a compressed frame, often of another size than its header says."""
        rows, columns = self.rng.choice([SHAPE, (33, 39), (2000, 2000)])
        array = np.zeros((rows, columns), np.uint8)
        kind = self.rng.choice([".jp2", ".jpg", ".png"])
        content = cv2.imencode(kind, array)[1].tobytes()
        return content if self.rng.random() < 0.5 else self._bitten(content) or b"\x00"

    def _store(self, content, key):
        study, series, uid = key
        place = f"/dicom-web/studies/{study}/series/{series}/instances/{uid}"
        looks = [place, f"{place}/metadata", f"{place}/rendered", f"{place}/frames/1", f"{place}/thumbnail"]
        looks += [f"{place}/frames/1,1,2", f"/datastore/image?image={series}", "/datastore/?output=all"]
        kind = "application/dicom"
        if self.rng.random() < 0.5:
            kind, content = self._in_parts(content)
        given = {"data": content, "headers": {"Content-Type": kind}}
        return HostileInput("dicom", "POST", "/dicom-web/studies", given, self.rng.sample(looks, k=2))

    def _in_parts(self, content):
        """Returns an object as viewers send it, in a message of parts, some of which are broken."""
        boundary = self.rng.choice(["x", "a b", "(", "", "x" * 71])
        head = self.rng.choice(["Content-Type: application/dicom\r\n", "", "no header", "Content-Type: text/html\r\n"])
        part = f"--{boundary}\r\n{head}\r\n".encode() + content + b"\r\n"
        whole = part * self.rng.choice([1, 1, 2]) + f"--{boundary}--".encode()
        kind = f'multipart/related; type="application/dicom"; boundary="{boundary}"'
        return kind, whole if self.rng.random() < 0.9 else self._bitten(whole)

    def _params(self):
        names = self.rng.choices(_NAMES, k=self.rng.choice([0, 1, 2, 20]))
        value = {
            "label_info": [{"name": name, "idx": self.rng.choice(_NUMBERS)} for name in names],
            "label_names": {name: self.rng.choice(_NUMBERS) for name in names},
            "class": self.rng.choice(["benign", "odd", "", 3, None, [], "\ud800"]),
            "more": self._value(0),
        }
        chosen = self.rng.sample(list(value), k=self.rng.randrange(1, 4))
        text = json.dumps({name: value[name] for name in chosen})
        return text if self.rng.random() < 0.8 else text[: self.rng.randrange(len(text))]

    def _value(self, depth):
        if depth < 6 and self.rng.random() < 0.4:
            return [self._value(depth + 1) for _ in range(self.rng.randrange(3))]
        return self.rng.choice([*_NAMES, *_NUMBERS])

    def _file(self, *, picture=None):
        """Returns the suffix and content of a file, half of them whole and of the right grid.

        Args:
            picture: whether it is mostly a picture, or mostly none; None where any will do.
        """
        suffix = self.rng.choice([".nrrd", ".nii.gz", ".nii", ".png"])
        if picture is not None and self.rng.random() < 0.8:
            suffix = ".png" if picture else self.rng.choice([".nrrd", ".nii.gz", ".nii"])
        shape, affine = self._grid()
        content = self._of(suffix, self._voxels(shape), affine)
        if self.rng.random() < 0.5:
            content = self._bitten(content)
            if suffix == ".nii.gz" and self.rng.random() < 0.7:
                content = gzip.compress(content, 1)
        if self.rng.random() < 0.05:
            suffix = self.rng.choice([".nrrd", ".nii.gz", ".png", ".jpg", ".dcm", "", ".svg"])
        return suffix, content

    def _grid(self):
        if self.rng.random() < 0.7:
            return VOLUME, AFFINE
        shape = self.rng.choice([(24, 20), (1, 1, 1), (24, 20, 6, 2), (24, 20, 1), (48, 40, 12), (0, 5, 5), (24,)])
        affine = AFFINE.copy()
        affine[self.rng.randrange(3), self.rng.randrange(4)] = self.rng.choice([0, np.nan, np.inf, 1e300, -2, 1e-30])
        return shape, affine

    def _voxels(self, shape):
        kind = self.rng.choice(["u1", "u1", "u1", "i2", "f4", "f8", "u2", "i8", "c8", "?"])
        values = self.numbers.integers(0, self.rng.choice([1, 2, 3, 255, 2000]), shape)
        with np.errstate(all="ignore"):
            array = values.astype(kind)
        if kind.startswith("f") and array.size and self.rng.random() < 0.5:
            array.flat[0] = self.rng.choice([np.nan, np.inf, 0.5, -1, 1e38])
        return array

    def _of(self, suffix, array, affine):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, f"f{suffix}")
            try:
                if suffix == ".png":
                    rows = SHAPE if self.rng.random() < 0.8 else self.rng.choice([(1, 1), (40, 61), (3000, 3000)])
                    depth = self.rng.choice([np.uint8, np.uint8, np.uint16])
                    colours = self.rng.choice([(), (), (3,), (4,)])
                    return cv2.imencode(".png", self.numbers.integers(0, 2, (*rows, *colours)).astype(depth))[
                        1
                    ].tobytes()
                if suffix == ".nrrd":
                    header = {"space": "right-anterior-superior", "space directions": affine[:3, :3].T[: array.ndim]}
                    nrrd.write(str(path), array, {**header, "encoding": self.rng.choice(["gzip", "raw"])})
                else:
                    image = nibabel.Nifti1Image(array, affine, dtype=array.dtype)
                    nibabel.save(image, path)
                return path.read_bytes()
            except Exception:  # what no library writes is any bytes
                return self.rng.randbytes(self.rng.randrange(2000))

    def _bitten(self, whole):
        """Returns bytes with something wrong with them."""
        rng, data = self.rng, bytearray(whole)
        match rng.randrange(8) if data else 0:
            case 0:
                return b""
            case 1:
                return bytes(data[: rng.randrange(len(data))])
            case 2 | 3:
                reach = min(len(data), 400) if rng.random() < 0.6 else len(data)
                for _ in range(rng.choice([1, 3, 20])):
                    data[rng.randrange(reach)] ^= 1 << rng.randrange(8)
                return bytes(data)
            case 4:
                return bytes(data) * 2
            case 5:
                return rng.randbytes(rng.randrange(2000))
            case 6:
                return bytes(data[:200]) + b"x:=y\n" * rng.choice([10, 20_000]) + bytes(data[200:])
        start = rng.randrange(len(data))
        return bytes(data[:start]) + bytes(len(data) - start)
