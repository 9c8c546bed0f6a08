"""What MONAI Label's protocol has beside the next sample, inference, saving and training: asked as its clients ask."""

import io
import json
import logging
import shutil
import threading
import zipfile

import cv2
import numpy as np
import pytest
import requests
from tests.server.served_app import served

from breastkit.cases import read_cases
from breastkit.dicom.write_us import write_us_dicom
from breastkit.images import read_mask, write_png
from breastkit.phantoms.mri import write_mri_phantoms
from breastkit.phantoms.us.pictures import make_us_phantom
from breastkit.server.labels.label_phantoms import study_phantoms
from breastkit.server.monailabel_fixes import prepare

prepare()
from monailabel.client import MONAILabelClient  # noqa: E402

LESION, TISSUE = "breast_us_lesion_segmentation", "breast_mri_tissue_segmentation"
DETECTOR = "breast_mri_lesion_detection"
SIZE = (120, 150)
NAMES = ("us 1", "us_2", "us_3")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Three pictures, and one that cannot be read."""
    place = tmp_path_factory.mktemp("protocol")
    for number, name in enumerate(NAMES):
        write_png(place / "studies" / f"{name}.png", make_us_phantom(5, number, size=SIZE).image)
    (place / "studies" / "z_broken.png").write_bytes(b"\x89PNG\r\n\x1a\n no picture")
    with served(place / "studies", conf={"models": str(place / "models")}) as (address, services):
        yield address, services


def save(address, image, tag="final"):
    mask = np.zeros(SIZE, np.uint8)
    mask[20:40, 30:60] = 1
    sent = {"label": ("label.png", cv2.imencode(".png", mask)[1].tobytes())}
    params = {"params": json.dumps({"class": "benign"})}
    answer = requests.put(f"{address}/datastore/label?image={image}&tag={tag}", files=sent, data=params)
    assert answer.status_code == 200, answer.text
    return mask


def batch(address, model=LESION, query="", **params):
    return requests.post(f"{address}/batch/infer/{model}{query}", json=params)


def test_a_batch_goes_on_where_it_was_and_tells_what_failed(server):
    address, services = server
    assert requests.get(f"{address}/batch/infer").json() == {}
    assert requests.get(f"{address}/batch/infer?check_if_running=true").status_code == 404
    begun, may_end = threading.Event(), threading.Event()
    holder = threading.Thread(target=services.queue.run, args=(lambda: (begun.set(), may_end.wait(120)),))
    holder.start()
    assert begun.wait(60)
    try:
        started = batch(address).json()
        assert (started["status"], started["done"], started["total"]) == ("RUNNING", 0, 4)
        assert requests.get(f"{address}/batch/infer?check_if_running=true").json()["progress"] == 0
        again = batch(address)
        assert (again.status_code, "is running" in again.json()["detail"]) == (400, True)
        stopping = threading.Thread(target=requests.delete, args=(f"{address}/batch/infer",))
        stopping.start()
        assert services.batch._stopping.wait(60)
    finally:
        may_end.set()
        holder.join()
    stopping.join()
    assert requests.get(f"{address}/batch/infer").json()["status"] == "STOPPED"
    made = {name: services.store.labels.current(name, "original").version for name in ("us 1",)}

    done = batch(address, query="?run_sync=true").json()
    assert (done["status"], done["done"], done["total"], done["progress"]) == ("DONE", 4, 4, 1.0)
    assert list(done["failed"]) == ["z_broken"]
    # What was made before the stop was not made again.
    assert services.store.labels.current("us 1", "original").version == made["us 1"] == 1
    info = requests.get(f"{address}/datastore/label/info?label=us_2&tag=original").json()
    assert info["made_by"]["model"] == LESION
    assert info["params"]["label_names"] == {"lesion": 1}
    # A model's labels train nothing and count as no annotation.
    assert requests.get(f"{address}/datastore/").json()["completed"] == 0


def test_a_batch_is_of_some_images_under_a_tag_of_its_own(server):
    address, services = server
    save(address, "us 1")
    labelled = batch(address, query="?images=labeled&run_sync=true", label_tag="first_try").json()
    assert labelled["total"] == 1
    two = batch(address, query="?images=unlabeled&run_sync=true", label_tag="second_try", max_batch_size=2).json()
    assert two["total"] == 2
    assert services.store.labels.labelled("first_try") == ["us 1"]
    assert services.store.labels.labelled("second_try") == ["us_2", "us_3"]
    assert requests.get(f"{address}/datastore/").json()["label_tags"]["second_try"] == 2
    refused = batch(address, label_tag="final")
    assert (refused.status_code, "annotators" in refused.json()["detail"]) == (400, True)
    assert batch(address, model="no_such").status_code == 404
    # None of the images is for this one.
    assert batch(address, model=TISSUE, query="?run_sync=true").json()["total"] == 0


def test_labelled_images_are_downloaded_as_a_data_set(server, tmp_path):
    address, services = server
    masks = {name: save(address, name) for name in NAMES[:2]}
    answer = requests.get(f"{address}/datastore/dataset")
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        archive.extractall(tmp_path)
    cases = read_cases(tmp_path)
    assert [item["case"] for item in cases.training] == list(masks)
    for item in cases.training:
        np.testing.assert_array_equal(read_mask(item["label"]) > 0, masks[item["case"]] > 0)
        studies = services.store.images.folder
        assert (tmp_path / item["image"]).read_bytes() == (studies / f"{item['case']}.png").read_bytes()
        assert (item["class"], item["labels"]) == ("benign", {"lesion": 1})
    one = requests.get(f"{address}/datastore/dataset?limit_cases=1").content
    assert len([name for name in zipfile.ZipFile(io.BytesIO(one)).namelist() if name.startswith("images/")]) == 1


def lend(address, *paths, query=""):
    return requests.put(
        f"{address}/session/{query}", files=[("files", (path.name, path.read_bytes())) for path in paths]
    )


def test_what_is_lent_is_given_back_and_kept_as_long_as_asked(server):
    address, services = server
    path = services.store.images.folder / "us_2.png"
    lent = lend(address, path, query="?expiry=60").json()
    session = f"{address}/session/{lent['session_id']}"
    assert 50 < lent["session_info"]["expiry"] <= 60
    assert requests.get(session, params={"image": "true"}).content == path.read_bytes()
    found = services.sessions.find(lent["session_id"])
    kept = requests.get(session, params={"update_ts": "true"}).json()
    assert services.sessions.find(lent["session_id"]).until > found.until
    assert set(kept) == {"image", "expiry"}
    # Nobody keeps an image for ever.
    assert lend(address, path, query="?expiry=999999").json()["session_info"]["expiry"] <= 3600


def test_the_phases_of_a_study_are_lent_together(server, tmp_path):
    address, _ = server
    study = study_phantoms(tmp_path)[0]["image"]
    for path, name in zip(study, ("first", "second"), strict=True):
        shutil.copy(path, tmp_path / f"{name}.nii.gz")
    lent = lend(address, tmp_path / "first.nii.gz", tmp_path / "second.nii.gz").json()["session_id"]
    answer = requests.post(f"{address}/infer/{DETECTOR}?session_id={lent}&output=json")
    assert answer.status_code == 200, answer.text
    assert answer.json()["phases"] == ["image_0000.nii.gz", "image_0001.nii.gz"]
    mixed = lend(address, tmp_path / "first.nii.gz", server[1].store.images.folder / "us_2.png")
    assert (mixed.status_code, "phases of one study" in mixed.json()["detail"]) == (400, True)


def test_dicom_is_lent_file_by_file(server, tmp_path):
    address, _ = server
    write_mri_phantoms(str(tmp_path / "mri"), cases=1, seed=3, size=64, dicom=True, workers=1)
    slices = sorted((tmp_path / "mri" / "case_001" / "post_1").glob("*"))
    lent = lend(address, *slices).json()["session_id"]
    answer = requests.post(f"{address}/infer/{TISSUE}?session_id={lent}&output=json")
    assert answer.status_code == 200, answer.text
    write_us_dicom(tmp_path / "us.dcm", make_us_phantom(5, 1, size=SIZE).image, spacing=0.2, patient="X", uid_seed="x")
    lent = lend(address, tmp_path / "us.dcm").json()["session_id"]
    assert requests.post(f"{address}/infer/{LESION}?session_id={lent}&output=json").status_code == 200


def test_an_image_that_is_lent_is_no_image_of_the_store_whatever_it_is_called(server):
    address, services = server
    picture = services.store.images.folder / "us_2.png"
    requests.put(f"{address}/datastore/?image=image", files={"file": ("a.png", picture.read_bytes())})
    lent = lend(address, picture).json()["session_id"]
    saving = {"params": json.dumps({"save_label": True})}
    assert requests.post(f"{address}/infer/{LESION}?session_id={lent}&output=json", data=saving).status_code == 200
    assert services.store.labels.current("image", "original") is None
    assert requests.post(f"{address}/infer/{LESION}?image=image&output=json", data=saving).status_code == 200
    assert services.store.labels.current("image", "original") is not None


def test_before_any_training_the_client_is_told_nothing(server):
    client = MONAILabelClient(server[0])
    assert client.train_status() == {}
    assert client.train_status(True) is False


def test_scoring_is_waited_for(server):
    address, _ = server
    save(address, "us_2")
    assert requests.post(f"{address}/scoring/dice?run_sync=true").json()["status"] == "DONE"


def test_the_log_tells_names_of_files_without_their_folders(server):
    address, _ = server
    logging.getLogger("breastkit.tried").warning("%s is damaged (http://127.0.0.1/a/b stays)", "/srv/anna/x/us 1.png")
    (last,) = requests.get(f"{address}/logs/?lines=1").text.splitlines()
    assert last.endswith("WARNING breastkit.tried: us 1.png is damaged (http://127.0.0.1/a/b stays)")
    assert len(requests.get(f"{address}/logs/").text.splitlines()) <= 300
