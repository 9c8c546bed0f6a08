"""The demonstration's parts, on small phantoms; the whole of it is run by `make demo` in `.ci/run`."""

import csv
import json
import shutil

import numpy as np
import pytest

from breastkit import demo
from breastkit.dicom.write_us import write_us_dicom
from breastkit.errors import BreastkitError
from breastkit.images import read_mask, read_volume, write_nifti, write_png
from breastkit.phantoms.mri import write_mri_phantoms
from breastkit.phantoms.us.pictures import write_us_phantoms
from breastkit.server.viewer import ohif


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    write_mri_phantoms(str(folder / "mri"), cases=1, seed=3, size=48, workers=1)
    write_us_phantoms(folder / "ultrasound", cases=3, seed=3, workers=1)
    return folder


@pytest.fixture
def tissue(phantoms, tmp_path):
    """What a perfect network would have written."""
    folder = tmp_path / "tissue"
    folder.mkdir()
    mask = next((phantoms / "mri" / "inference" / "masks").glob("*.nii.gz"))
    for name in ("breast", "candidate"):
        shutil.copy(mask, folder / f"{mask.name.removesuffix('.nii.gz')}_{name}.nii.gz")
    return folder


@pytest.fixture
def lesions(phantoms, tmp_path):
    """What a perfect network would have written."""
    folder = tmp_path / "lesions"
    folder.mkdir()
    for path in demo._pictures(phantoms / "ultrasound"):
        parts = [read_mask(part) for part in path.parent.glob(f"{path.stem}_mask*.png")]
        write_png(folder / f"{path.stem}_mask.png", np.maximum.reduce(parts) * np.uint8(255))
    return folder


def page_of(phantoms, tissue, tmp_path, *, lesions=None, diagnosis=None, mri_lesions=None):
    results = {"tissue": tissue, "lesions": lesions, "diagnosis": diagnosis, "mri_lesions": mri_lesions}
    page = demo._write_page(tmp_path, phantoms / "mri", phantoms / "ultrasound", results, 3)
    return page.read_text(encoding="utf-8")


def test_page_with_results(phantoms, tissue, tmp_path):
    text = page_of(phantoms, tissue, tmp_path)
    assert "For research, not for diagnosis." in text
    assert "<b>1.000</b><span>Dice of the outline with the truth</span>" in text
    assert text.count("<figure") == 9
    assert (tmp_path / "mri.png").stat().st_size > 1000
    assert (tmp_path / "ultrasound.png").stat().st_size > 1000


def test_page_with_ultrasound_results(phantoms, lesions, tmp_path):
    text = page_of(phantoms, None, tmp_path, lesions=lesions)
    assert "mean Dice 1.00 here" in text
    assert "diagnosis/report.html" not in text
    assert "<code>lesions</code>" in text


def test_pictures_without_masks_are_copied(phantoms, tmp_path):
    demo._copy_pictures(tmp_path, ultrasound=phantoms / "ultrasound")
    assert len(list(tmp_path.iterdir())) == 3
    assert not list(tmp_path.glob("*_mask*"))


def test_page_without_weights_says_so(phantoms, tmp_path):
    text = page_of(phantoms, None, tmp_path)
    assert "breast_mri_tissue_segmentation has no weights here." in text
    assert "breast_us_lesion_segmentation has no weights here." in text
    assert "diagnosis/report.html" not in text
    assert "Dice" not in text


def test_page_with_a_diagnosis_links_its_report(phantoms, lesions, tmp_path):
    """The chain itself is tested with run us; here what it wrote comes onto the page."""
    diagnosis, rows = tmp_path / "diagnosis", ["file,class,p_malignant,mask"]
    diagnosis.mkdir()
    for path in demo._pictures(phantoms / "ultrasound"):
        rows.append(f"{path.name},malignant,0.87,{path.stem}_mask.png")
    (diagnosis / "results.csv").write_text("\n".join(rows) + "\n")
    text = page_of(phantoms, None, tmp_path, lesions=lesions, diagnosis=diagnosis)
    assert '<a href="diagnosis/report.html">' in text
    assert text.count("read as malignant, malignant with 87%") >= 3


def test_page_with_lesions_of_dynamic_mri(phantoms, tmp_path):
    """The chain itself is tested with run mri; here what it wrote comes onto the page, told true from false."""
    truth = np.zeros((12, 10, 4), np.uint8)
    truth[2:4, 2:4, 1], found = 1, np.zeros((12, 10, 4), np.uint8)
    found[3:5, 3:5, 1], found[8:10, 8:10, 2] = 1, 2
    out = tmp_path / "mri_lesions"
    out.mkdir()
    write_nifti(out / "lesions.nii.gz", found, np.eye(4))
    write_png(out / "overlay.png", np.full((20, 40, 3), 90, np.uint8))
    (out / "lesions.csv").write_text(
        "lesion,score,volume_mm3,longest_diameter_mm,kinetic_class\n1,0.9,4,3,plateau\n2,0.2,4,3,washout\n"
    )
    place = tmp_path / "studies" / "mri" / "truth" / "lesions"
    place.mkdir(parents=True)
    write_nifti(place / f"{demo.MRI_STUDY}.nii.gz", truth, np.eye(4))
    text = page_of(phantoms, None, tmp_path, mri_lesions=out)
    assert "One lesion was planted" in text
    rows = text.split("<tbody>")[1].split("</tbody>")[0].split("</tr>")
    assert "0.90" in rows[0] and "plateau" in rows[0] and "<td>yes</td>" in rows[0]
    assert "0.20" in rows[1] and "<td>no</td>" in rows[1]
    assert "<code>mri_lesions</code>" in text


def test_a_folder_of_someone_else_is_not_taken_for_tracked_runs(phantoms, tmp_path):
    (tmp_path / "tracked").mkdir()
    (tmp_path / "tracked" / "mine.txt").write_text("mine")
    with pytest.raises(BreastkitError, match="is not empty"):
        demo._track_evaluation(tmp_path / "tracked", phantoms / "ultrasound", 3)
    assert (tmp_path / "tracked" / "mine.txt").exists()


def test_no_weights_no_run(phantoms, tmp_path, monkeypatch):
    monkeypatch.setattr("breastkit.bundle.bundle_folder", lambda name: str(tmp_path / name))
    assert demo._run_where_weights_ship(tmp_path / "tissue", demo.TISSUE_BUNDLE, phantoms / "mri", 3) is None
    assert demo._diagnose(tmp_path / "diagnosis", phantoms / "ultrasound", 3) is None
    assert demo._find_mri_lesions(tmp_path / "mri_lesions", phantoms / "mri", 3) is None
    assert not (tmp_path / "tissue").exists()


class TestMadeOnce:
    def make(self, folder):
        self.times = getattr(self, "times", 0) + 1
        (folder / "a.txt").write_text("x")

    def test_kept_when_nothing_changed(self, tmp_path):
        for _ in range(2):
            assert (demo._made_once(tmp_path / "a", {"seed": 1}, self.make) / "a.txt").exists()
        assert self.times == 1

    def test_made_again_with_other_settings(self, tmp_path):
        for seed in (1, 2):
            demo._made_once(tmp_path / "a", {"seed": seed}, self.make)
        assert self.times == 2
        assert json.loads((tmp_path / "a" / ".made_with.json").read_text()) == {"seed": 2}

    def test_a_folder_of_someone_else_is_left_alone(self, tmp_path):
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "mine.txt").write_text("mine")
        with pytest.raises(BreastkitError, match="is not empty"):
            demo._made_once(tmp_path / "a", {"seed": 1}, self.make)
        assert (tmp_path / "a" / "mine.txt").exists()

    def test_a_failure_leaves_nothing(self, tmp_path):
        def fail(folder):
            self.make(folder)
            raise BreastkitError("no.")

        with pytest.raises(BreastkitError):
            demo._made_once(tmp_path / "a", {"seed": 1}, fail)
        assert list(tmp_path.iterdir()) == []


def test_the_server_over_a_demonstration_is_checked(tmp_path):
    picture = np.random.default_rng(0).integers(0, 255, (40, 60), dtype=np.uint8)
    write_us_dicom(tmp_path / "studies" / "us.dcm", picture, spacing=0.1, patient="US", uid_seed="demo test")
    with pytest.raises(BreastkitError, match="/results/ does not answer"):
        # The last of the pages, so that all others answered; there is no index.html to show.
        demo.check_pages(tmp_path)


def test_no_server_without_studies(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(ohif, "has_viewer", lambda: False)
    with pytest.raises(BreastkitError, match=r"did not start: .*studies is no folder"):
        demo.check_pages(tmp_path)
    # A server without the viewer is a server all the same.
    assert ohif.NO_VIEWER in caplog.messages


def test_a_cohort_is_measured_and_correlated(tmp_path):
    demo._make_cohort(tmp_path / "cohort", seed=1, cases=8)
    with (tmp_path / "cohort" / "features.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert 4 <= len(rows) <= 8
    for row in rows:
        mask = read_volume(tmp_path / "cohort" / "segmentations" / "expert" / f"{row['patient_id']}.nii.gz", mask=True)
        assert int(row["volume_voxels"]) == np.count_nonzero(mask.array)
        assert 0 < float(row["mean_intensity"]) <= float(row["max_intensity"])
    demo._correlate(tmp_path / "correlation", cohort=tmp_path / "cohort")
    assert (tmp_path / "correlation" / "corr_nottingham_grade.png").is_file()
    assert "tests were made" in (tmp_path / "correlation" / "index.html").read_text(encoding="utf-8")
