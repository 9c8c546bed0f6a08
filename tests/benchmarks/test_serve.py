import pytest

from benchmarks.serve import OF_PICTURE, OF_STUDY, image_of, seconds_for, started, write_studies
from breastkit.server.models.model_list import find_models
from breastkit.server.studies.study_phases import phases_in_store
from breastkit.server.studies.study_store import open_store


@pytest.fixture
def studies(tmp_path):
    write_studies(tmp_path / "studies", picture=(120, 150), scan=(96, 96, 32))
    return tmp_path / "studies"


def test_what_is_measured_is_what_the_models_read(studies, tmp_path):
    images = open_store(str(studies), labels=tmp_path / "labels").images
    kinds = {image.info["Modality"]: image for image in images.all().values()}
    assert kinds["US"].form.is_flat
    assert len(phases_in_store(images, kinds["MR"]).all) == 2
    grid = images.grid_of(images.get(kinds["MR"].id))
    assert grid.shape == (96, 96, 32)
    assert set(find_models()) >= {*OF_PICTURE, *OF_STUDY}


@pytest.mark.slow
def test_every_answer_is_timed(studies, tmp_path):
    with started(studies, models=tmp_path / "models") as (address, pid):
        for modality, models in (("US", OF_PICTURE), ("MR", OF_STUDY)):
            for model in models:
                seconds, computed = seconds_for(address, model, image_of(address, modality), pid=pid)
                assert seconds > 0
                assert computed > 0
