"""Which images there are, and in which order their frames come."""

import numpy as np
import pydicom

from breastkit.dicom.write_us import write_us_dicom
from breastkit.dicomweb.folder_index import FolderIndex
from breastkit.server.studies.study_images import DicomImages, frames_of


def test_frames_of_several_files_come_as_viewers_order_them(tmp_path):
    """OHIF goes by InstanceNumber, so labels would else lie on another frame than the one they were drawn on."""
    studies, numbers = tmp_path / "studies", {"a.dcm": 3, "b.dcm": 1, "c.dcm": 2}
    for name, number in numbers.items():
        picture = np.full((20, 30), 40 * number, np.uint8)
        write_us_dicom(studies / name, picture, spacing=0.1, patient="US", uid_seed=f"order {number}")
        image = pydicom.dcmread(studies / name)
        image.StudyInstanceUID, image.SeriesInstanceUID, image.InstanceNumber = "1.2.3", "1.2.3.4", number
        image.save_as(studies / name)
    (image,) = DicomImages(FolderIndex([studies]), tmp_path / "cache").all().values()
    assert [path.name for path in image.files] == ["b.dcm", "c.dcm", "a.dcm"]
    assert [int(gray.max()) for gray, _ in frames_of(image)] == [40, 80, 120]
