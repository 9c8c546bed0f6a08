"""A clip of several ultrasound frames in OHIF: every mask lies on the frame it belongs to, up to the stored label."""

import numpy as np
import pytest
import requests
from tests.server.ohif_page import OhifPage, chromium
from tests.server.served_app import served
from tests.server.viewed_studies import GRAY, JSON, LESION, MASK

from breastkit.dicom.read_seg import read_segmentation
from breastkit.dicom.write_us import write_us_dicom
from breastkit.metrics.segmentation import dice

# The lesion wanders from frame to frame.
STEPS = [20 * number for number in range(5)]
FRAMES = np.stack([np.roll(GRAY, step, axis=1) for step in STEPS])
MASKS = np.stack([np.roll(MASK, step, axis=1) for step in STEPS])


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clips") / "clip.dcm"
    return write_us_dicom(path, FRAMES, spacing=0.2, patient="CLIP_1", uid_seed="clip")


@pytest.mark.slow
def test_masks_lie_on_the_frames_they_belong_to(clip, tmp_path):
    with served(clip.parent, conf={"labels": str(tmp_path / "labels")}) as (server, _), chromium() as browser:
        page = OhifPage(browser, server)
        assert "US" in page.list_studies("CLIP_1")["CLIP_1"]
        page.open_for_labels("CLIP_1")
        page.run_model(LESION)
        outlined = page.labels() > 0
        assert outlined.shape == FRAMES.shape
        fits = np.array([[dice(one, mask) for mask in MASKS] for one in outlined])
        assert fits.argmax(axis=1).tolist() == [0, 1, 2, 3, 4]
        page.show_number(3)
        assert dice(page.overlay("lesion", outlined[3]), outlined[3]) > 0.97
        # What is drawn is drawn on the frame that is shown.
        page.draw("Brush", (240, 225), (250, 240))
        drawn = page.labels() > 0
        assert np.flatnonzero((drawn != outlined).any((1, 2))).tolist() == [3]

        image = page.submit()["image"]
        found = requests.get(f"{server}/dicom-web/instances?Modality=SEG", headers=JSON, timeout=60).json()
        (place,) = [one["00081190"]["Value"][0] for one in found]
        stored = requests.get(place, headers={"Accept": "application/dicom"}, timeout=60)
        (tmp_path / "stored.dcm").write_bytes(stored.content)
        (segment,) = read_segmentation(tmp_path / "stored.dcm", clip)
        np.testing.assert_array_equal(segment.mask > 0, drawn)
        (header,) = requests.get(f"{place}/metadata", headers=JSON, timeout=60).json()
        assert [frame_shown_by(group) for group in header["52009230"]["Value"]] == [1, 2, 3, 4, 5]
        assert requests.get(f"{server}/datastore/label/info?label={image}", timeout=60).status_code == 200
        assert page.failures == []


def frame_shown_by(group):
    """Returns the number of the source's frame that a frame of a segmentation refers to."""
    (derivation,) = group["00089124"]["Value"]
    (source,) = derivation["00082112"]["Value"]
    (number,) = source["00081160"]["Value"]
    return int(number)
