import numpy as np
import pytest
import torch
from tests.inference.ultrasound_weights import classifier_weights, random_classifier, segmenter_weights

from breastkit.bundle import Bundle
from breastkit.errors import BreastkitError
from breastkit.inference import UltrasoundReader
from breastkit.inference.ultrasound import LesionClassifier, Segmenter, chained
from breastkit.metrics import dice
from breastkit.pipelines import ULTRASOUND
from breastkit.training import save_weights


def picture(shape=(48, 80)):
    """A dark picture with a bright block, no flip or turn of which lies on itself, and the block."""
    truth = np.zeros(shape, bool)
    truth[shape[0] // 8 : shape[0] // 3, shape[1] // 2 : shape[1] * 3 // 4] = True
    gray = np.random.default_rng(0).normal(20, 2, shape)
    gray[truth] = 220
    return gray.astype(np.uint8), truth


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("weights")


@pytest.fixture(scope="module")
def bright(folder):
    """A segmenter whose logits are the preprocessed picture: what is bright is the lesion."""
    path = save_weights(folder / "identity", torch.nn.Identity(), architecture="identity", image_size=64, threshold=0.8)
    return Segmenter(path, network_def={"_target_": "torch.nn.Identity"}, backend="torch")


@pytest.fixture(scope="module")
def nothing(folder):
    return Segmenter(segmenter_weights(folder / "nothing", everything=False), backend="torch")


@pytest.fixture(scope="module")
def fusion(folder):
    return LesionClassifier(
        classifier_weights(folder / "fusion", (0.2, 0.8), variant="fusion", threshold=0.55), backend="torch"
    )


@pytest.fixture(scope="module")
def mask_aware(folder):
    weights = classifier_weights(folder / "aware", (0.25, 0.45, 0.3), variant="mask_aware", threshold=0.35)
    return LesionClassifier(weights, backend="torch")


def test_the_mask_lies_where_the_lesion_is_on_the_pictures_own_grid(bright, fusion, mask_aware):
    gray, truth = picture()
    reading = UltrasoundReader(bright, fusion, mask_aware).read(gray, explain=False)
    assert reading.mask.shape == reading.probability.shape == gray.shape
    assert dice(reading.mask, truth) > 0.93
    assert reading.measures["area_px"] == np.count_nonzero(reading.mask)
    assert reading.relevance is None


def test_normal_is_the_one_variants_say_and_the_rest_is_shared_out_by_the_other(bright, fusion, mask_aware):
    reading = UltrasoundReader(bright, fusion, mask_aware).read(picture()[0], explain=False)
    expected = {"normal": 0.25, "benign": 0.75 * 0.2, "malignant": 0.75 * 0.8}
    assert reading.probabilities == pytest.approx(expected, abs=1e-6)
    assert sum(reading.probabilities.values()) == pytest.approx(1)
    # 0.6 reaches the operating point 0.55 of the variant that decides.
    assert (reading.label, reading.suspicious, reading.decided_by) == ("malignant", True, "fusion")
    entropy = -(0.2 * np.log(0.2) + 0.8 * np.log(0.8)) / np.log(2)
    assert reading.uncertainty == pytest.approx(entropy, abs=1e-6)
    assert not reading.abstain


def test_without_an_outline_the_variant_that_knows_normal_decides_by_its_own_rule(nothing, fusion, mask_aware):
    reading = UltrasoundReader(nothing, fusion, mask_aware).read(picture()[0])
    assert not reading.found
    assert reading.probabilities == pytest.approx({"normal": 0.25, "benign": 0.45, "malignant": 0.3}, abs=1e-6)
    assert (reading.label, reading.suspicious, reading.decided_by) == ("benign", False, "mask_aware")
    assert reading.relevance_in_lesion is None
    # Its entropy is above the limit stored with it.
    assert reading.abstain


def test_normal_in_spite_of_an_outline_is_told_by_the_variant_that_knows_normal(bright, fusion, folder):
    weights = classifier_weights(folder / "sure", (0.98, 0.01, 0.01), variant="mask_aware", threshold=0.35)
    reading = UltrasoundReader(bright, fusion, LesionClassifier(weights, backend="torch")).read(picture()[0])
    assert (reading.label, reading.decided_by) == ("normal", "mask_aware")
    assert reading.uncertainty < 0.15


def test_a_picture_is_suspicious_by_the_operating_point_and_its_class_the_most_probable(bright, folder, mask_aware):
    weights = classifier_weights(folder / "low", (0.9, 0.1), variant="fusion", threshold=0.07)
    reading = UltrasoundReader(bright, LesionClassifier(weights, backend="torch"), mask_aware).read(
        picture()[0], explain=False
    )
    assert reading.probabilities["malignant"] == pytest.approx(0.075, abs=1e-6)
    assert reading.suspicious
    assert reading.label == "benign"


def test_a_variant_of_three_classes_shares_out_what_it_leaves_to_lesions():
    shared = chained(0.4, {"normal": 0.5, "benign": 0.1, "malignant": 0.4})
    assert shared == pytest.approx({"normal": 0.4, "benign": 0.12, "malignant": 0.48})


def test_a_map_lies_on_the_pictures_own_grid(bright, folder, mask_aware):
    """What stands out in the square of the network stands out at the same place of the picture, not in its padding."""
    classifier = LesionClassifier(random_classifier(folder / "random", variant="image"), backend="torch")
    gray, truth = picture((60, 150))
    reading = UltrasoundReader(bright, classifier, mask_aware).read(gray)
    assert reading.relevance.shape == gray.shape
    assert 0 <= reading.relevance.min() < reading.relevance.max() <= 1
    assert reading.relevance_in_lesion == pytest.approx(reading.relevance[reading.mask].sum() / reading.relevance.sum())
    prepared = classifier.prepare(gray, truth)
    square = torch.zeros(1, 64, 64)
    # The picture fills rows 19 to 44 of the square, 2.34 pixels of it one of the square's.
    square[0, 19:22, 60:] = 1
    place = classifier.bundle.back_on_picture(square, prepared)[0].numpy()
    assert place.shape == gray.shape
    assert place[:5, 145:].min() > 0.9
    assert place[12:].max() == place[:, :130].max() == 0


def test_reading_twice_gives_the_same(bright, folder, mask_aware):
    classifier = LesionClassifier(random_classifier(folder / "again", variant="image"), backend="torch")
    first, second = (UltrasoundReader(bright, classifier, mask_aware).read(picture()[0]) for _ in range(2))
    assert first.probabilities == second.probabilities
    assert first.uncertainty == second.uncertainty
    np.testing.assert_array_equal(first.relevance, second.relevance)


def test_missing_and_damaged_weights_are_sentences(folder, tmp_path):
    with pytest.raises(BreastkitError, match=r"model\.pt does not exist"):
        Bundle(ULTRASOUND).opened(weights=tmp_path)
    path = classifier_weights(tmp_path / "cut", (0.2, 0.8), variant="image")
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(BreastkitError, match="sha256 differs"):
        Bundle(ULTRASOUND).opened(weights=path)


def test_a_rule_that_was_never_chosen_is_a_sentence(tmp_path):
    path = save_weights(
        tmp_path,
        LesionClassifier(classifier_weights(tmp_path / "a", (0.2, 0.8), variant="image")).bundle.network,
        architecture="image",
        image_size=32,
        classes=["benign", "malignant"],
        view={"channels": ["gray"], "margin": None},
        samples=2,
    )
    with pytest.raises(BreastkitError, match="lacks temperature, threshold, abstain_above"):
        LesionClassifier(path)
