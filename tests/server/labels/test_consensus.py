"""What several outlines come to, and how far two of them agree."""

import json

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from breastkit.cli import main
from breastkit.errors import BreastkitError
from breastkit.server.labels.agreement import kappa_of
from breastkit.server.labels.consensus import Method, Reading, UndecidedError, consensus_of, dices_of, reading_of
from breastkit.server.labels.readings import Readings
from breastkit.server.labels.saved_labels import SavedLabels
from breastkit.server.studies.study_images import Grid

SHAPE = (40, 30, 3)
GRID = Grid(SHAPE, np.diag([2.0, 3.0, 4.0, 1.0]))


def disc(centre, radius):
    columns, rows = np.mgrid[:40, :30]
    inside = (columns - centre[0]) ** 2 + (rows - centre[1]) ** 2 < radius**2
    return np.repeat(inside[:, :, None], 3, axis=2)


def readings(*masks, classes=None):
    classes = classes or [None] * len(masks)
    return [
        Reading(f"r{number}", {"lesion": mask}, name)
        for number, (mask, name) in enumerate(zip(masks, classes, strict=True))
    ]


SMALL, LARGE, BETWEEN, ELSEWHERE = disc((18, 15), 6), disc((18, 15), 9), disc((20, 16), 7), disc((35, 25), 4)


def test_a_majority_is_what_more_than_half_draw():
    found = consensus_of(readings(SMALL, LARGE, BETWEEN))
    votes = SMALL.astype(int) + LARGE + BETWEEN
    np.testing.assert_array_equal(found.labels, votes >= 2)
    assert found.names == {"lesion": 1}
    # Half is no majority.
    np.testing.assert_array_equal(consensus_of(readings(SMALL, BETWEEN)).labels, SMALL & BETWEEN)


def test_staple_trusts_those_who_agree():
    found = consensus_of(readings(BETWEEN, BETWEEN, LARGE, ELSEWHERE), Method.STAPLE)
    np.testing.assert_array_equal(found.labels > 0, BETWEEN)
    # By votes alone two of four would not do.
    with pytest.raises(UndecidedError):
        consensus_of(readings(BETWEEN, BETWEEN, ELSEWHERE, disc((4, 4), 3)))
    # What lies far from anything drawn changes nothing.
    wide = [np.pad(mask, ((0, 60), (0, 60), (0, 0))) for mask in (SMALL, LARGE, BETWEEN)]
    near = consensus_of(readings(SMALL, LARGE, BETWEEN), Method.STAPLE).labels
    np.testing.assert_array_equal(consensus_of(readings(*wide), Method.STAPLE).labels[:40, :30], near)


@pytest.mark.parametrize("method", Method)
@pytest.mark.parametrize(
    "masks", [(SMALL, ELSEWHERE), (SMALL, np.zeros(SHAPE, bool)), (SMALL, ELSEWHERE, disc((4, 4), 3))]
)
def test_who_share_nothing_are_undecided(method, masks):
    with pytest.raises(UndecidedError, match=r"and r\d do not outline the same; a reviewer chooses"):
        consensus_of(readings(*masks), method)


def test_nothing_is_a_consensus_too():
    nothing = np.zeros(SHAPE, bool)
    assert not consensus_of(readings(nothing, nothing)).labels.any()
    assert not consensus_of(readings(nothing, SMALL, nothing)).labels.any()


def test_the_class_is_that_of_most_who_said_one():
    masks = (SMALL, SMALL, SMALL)
    assert consensus_of(readings(*masks, classes=["benign", "malignant", "benign"])).of_class == "benign"
    assert consensus_of(readings(*masks, classes=[None, "malignant", None])).of_class == "malignant"
    assert consensus_of(readings(*masks, classes=["benign", "malignant", None])).of_class is None


def test_outlines_are_compared_whatever_they_are_called_and_numbered(tmp_path):
    store = SavedLabels(tmp_path)
    first, second = np.zeros((2, *SHAPE), np.uint8)
    first[SMALL], first[ELSEWHERE], first[:3] = 1, 2, 7
    second[SMALL], second[ELSEWHERE], second[:3], second[:, :2] = 5, 3, 1, 9
    store.save("a", first, GRID, names={"lesion": 1, "Lesion 2": 2, "breast": 7})
    mine = reading_of("anna", store.current("a"))
    store.save("a", second, GRID, names={"malignant": 5, "benign": 3, "breast": 1, "normal": 9})
    other = reading_of("eva", store.current("a"))
    assert set(mine.masks) == set(other.masks) == {"lesion", "breast"}
    assert dices_of(mine, other) == {"lesion": 1.0, "breast": pytest.approx(2 * 252 / (252 + 270))}
    found = consensus_of([mine, other])
    np.testing.assert_array_equal(found.labels == found.names["lesion"], SMALL | ELSEWHERE)
    with pytest.raises(BreastkitError, match="anna and eva have different sizes"):
        dices_of(mine, Reading("eva", {"lesion": np.zeros((3, 3, 3), bool)}))


def test_kappa_is_that_of_scikit_learn_where_there_is_one():
    said = [("benign", "benign"), ("malignant", "benign"), ("malignant", "malignant"), ("normal", "normal")]
    assert kappa_of(said) == pytest.approx(cohen_kappa_score(*zip(*said, strict=True)))
    assert kappa_of([("benign", "malignant"), ("malignant", "benign")]) == -1
    assert kappa_of([("benign", "benign")] * 3) is None
    assert kappa_of([]) is None


@pytest.fixture
def labels(tmp_path):
    """What three have saved of two images, and one of a third."""
    folder = tmp_path / "labels"
    store = SavedLabels(folder)
    for image, drawn in {
        "one": {"anna": SMALL, "eva": LARGE, "ida": BETWEEN},
        "two": {"anna": SMALL, "eva": ELSEWHERE},
        "three": {"anna": SMALL},
    }.items():
        for reader, mask in drawn.items():
            store.save(
                image, mask.astype(np.uint8), GRID, tag=f"reader:{reader}", names={"lesion": 1}, of_class="benign"
            )
    return folder


def test_the_command_makes_a_consensus_once(labels, capsys):
    assert main(["labels", "consensus", str(labels)]) == 0
    assert (
        "images read by several: 2, with a consensus: 1, waiting for a reviewer: two, made now: 3"
        in capsys.readouterr().out
    )
    store = SavedLabels(labels)
    assert store.labelled() == ["one", "three"]
    assert store.current("one").info["consensus"] == {"of": {"anna": 1, "eva": 1, "ida": 1}, "method": "majority"}
    assert store.current("three").info["consensus"]["method"] == "one reader"
    assert main(["labels", "consensus", str(labels), "--method", "staple"]) == 0
    assert store.current("one").info["consensus"]["method"] == "staple"
    assert [one.version for one in store.versions("one")] == [1, 2]
    main(["labels", "consensus", str(labels), "--method", "staple"])
    assert [len(store.versions(image)) for image in ("one", "three")] == [2, 1]


def test_the_command_leaves_alone_what_is_settled(labels):
    readings = Readings(SavedLabels(labels))
    readings.settle("one")
    from breastkit.server.labels.reviews import Decision
    from breastkit.server.security.users import Role, User

    readings.review(User("rita", Role.REVIEWER), "one", Decision.CHOOSE, readers=["eva"])
    assert main(["labels", "consensus", str(labels), "--method", "staple"]) == 0
    assert SavedLabels(labels).current("one").info["consensus"]["method"] == "chosen by rita"


def test_the_command_writes_a_page_and_tables(labels, tmp_path, capsys):
    assert main(["labels", "agreement", str(labels), "--out", str(tmp_path / "out")]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"index.html", "pairs.csv", "images.csv"}
    pairs = [line.split(",") for line in (tmp_path / "out" / "pairs.csv").read_text().splitlines()]
    assert [row[:3] for row in pairs[1:]] == [["anna", "eva", "2"], ["anna", "ida", "1"], ["eva", "ida", "1"]]
    dice = dices_of(*readings(SMALL, LARGE))["lesion"]
    assert float(pairs[1][3]) == pytest.approx(dice / 2, abs=1e-4)
    # All said benign, which is no agreement beyond chance.
    assert pairs[1][6:] == ["2", "2", ""]
    assert "anna, eva" in (tmp_path / "out" / "index.html").read_text()


def test_bad_folders_get_a_sentence_and_nothing_is_made(labels, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    one = SavedLabels(tmp_path / "one")
    one.save("a", SMALL.astype(np.uint8), GRID, tag="reader:anna", names={"lesion": 1})
    for words, sentence in (
        (["agreement", str(tmp_path / "none"), "--out", str(tmp_path / "out")], "holds labels of no reader"),
        (["agreement", str(tmp_path / "empty"), "--out", str(tmp_path / "out")], "holds labels of no reader"),
        (["consensus", str(tmp_path / "none")], "holds labels of no reader"),
        (["agreement", str(tmp_path / "one"), "--out", str(tmp_path / "out")], "no image that two have read"),
    ):
        assert main(["labels", *words]) == 1
        said = capsys.readouterr().err
        assert sentence in said and len(said.splitlines()) == 1
    assert not (tmp_path / "none").exists() and not (tmp_path / "out").exists()
    # One reader's label is the consensus of one.
    assert main(["labels", "consensus", str(tmp_path / "one")]) == 0
    np.testing.assert_array_equal(reading_of("", one.current("a")).masks["lesion"], SMALL)
    # A server that writes there is not written beside.
    from breastkit.server.labels.folder_lock import FolderLock

    lock = FolderLock(labels)
    assert main(["labels", "consensus", str(labels)]) == 1
    assert "is in use by another server" in capsys.readouterr().err
    lock.release()


def test_a_damaged_decision_is_set_aside_and_stops_nobody(labels):
    place = labels / "reviews" / "one"
    place.mkdir(parents=True)
    (place / "000001.json").write_text(json.dumps({"image": "one", "decision": "approve"}))
    (labels / "assignments.json").write_text('{"one": {"anna": "tomorrow"}}')
    readings = Readings(SavedLabels(labels))
    assert (readings.reviews.of("one"), readings.assignments.of("one")) == ([], {})
    assert [path.name for path in place.iterdir()] == ["000001.json.damaged"]
