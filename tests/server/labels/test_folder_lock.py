"""Two servers never write to the same labels; the second one says who does, or only reads."""

import json

import cv2
import numpy as np
import pytest
import requests
from tests.server.served_app import served

from breastkit.errors import BreastkitError
from breastkit.images import write_png
from breastkit.phantoms.us.pictures import make_us_phantom
from breastkit.server.labels.folder_lock import FolderLock
from breastkit.server.services import open_services

MODEL = "breast_us_lesion_segmentation"
SIZE = (120, 150)


def mask():
    return {"label": ("label.png", cv2.imencode(".png", np.full(SIZE, 255, np.uint8))[1].tobytes())}


def test_a_second_server_is_refused_or_only_reads(tmp_path):
    write_png(tmp_path / "studies" / "us.png", make_us_phantom(5, 1, size=SIZE).image)
    place, labels = str(tmp_path / "studies"), tmp_path / "studies" / "labels"
    with served(place) as (first, _):
        with pytest.raises(BreastkitError, match=r"in use by another server \(process \d+ of .+ on .+, since 2"):
            open_services(place, {})
        with served(place, conf={"read_only": "yes"}) as (second, services):
            assert requests.put(f"{first}/datastore/label?image=us", files=mask()).status_code == 200
            kept = {path for path in labels.rglob("*") if ".cache" not in path.parts}
            saving = {"params": json.dumps({"save_label": True})}
            for method, path, sent in (
                ("PUT", "/datastore/label?image=us", {"files": mask()}),
                ("PUT", "/datastore/image?image=new", {"files": {"file": ("a.png", mask()["label"][1])}}),
                ("POST", f"/infer/{MODEL}?image=us", {"data": saving}),
                ("POST", "/train/", {}),
            ):
                refused = requests.request(method, second + path, **sent)
                assert (refused.status_code, "only reads" in refused.json()["detail"]) == (403, True), path
            # What the first one saves it shows, and models run.
            assert requests.get(f"{second}/datastore/").json()["completed"] == 1
            answer = requests.post(f"{second}/infer/{MODEL}?image=us&output=json")
            assert answer.status_code == 200
            assert services.only_reads
            assert {path for path in labels.rglob("*") if ".cache" not in path.parts} == kept
    open_services(place, {}).close()


def test_the_lock_goes_with_who_held_it(tmp_path):
    lock = FolderLock(tmp_path)
    with pytest.raises(BreastkitError, match="--read-only"):
        FolderLock(tmp_path)
    lock.release()
    (tmp_path / ".lock").write_text("no JSON")
    held = FolderLock(tmp_path)
    (tmp_path / ".lock").write_text("[]")
    with pytest.raises(BreastkitError, match="another server; stop"):
        FolderLock(tmp_path)
    held.release()
