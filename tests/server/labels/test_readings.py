"""Several people at one set of images: their own labels, the consensus, reviews, and whose turn it is."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import cv2
import numpy as np
import pytest
import requests
from tests.server.served_app import served
from tests.server.several_people import SHAPE, People, box, password_of, served_people, write_users

from breastkit.dicom.write_us import write_us_dicom
from breastkit.images import read_mask, write_png
from breastkit.server.labels import assignments
from breastkit.server.monailabel_fixes import prepare


@pytest.fixture(scope="module")
def users(tmp_path_factory):
    return write_users(tmp_path_factory.mktemp("users") / "users.json")


@pytest.fixture
def people(users, tmp_path):
    with served_people(users, tmp_path, double="1") as people:
        yield people


@pytest.fixture
def one_each(users, tmp_path):
    with served_people(users, tmp_path) as people:
        yield people


def test_two_read_on_their_own_a_reviewer_sends_back_and_the_consensus_counts(people):
    # Both are handed the same image, and neither sees what the other one drew.
    assert people.next("anna")["id"] == people.next("eva")["id"] == "one"
    first = people.save("anna", "one", box((5, 15)), **{"class": "benign"}).json()
    assert (first["version"], first["tag"], first["says"]) == (1, "reader:anna", "")
    assert people.ask("eva", "GET", "/datastore/label/versions?label=one").json() == []
    hidden = people.ask("eva", "GET", "/datastore/label?label=one&tag=reader:anna")
    assert (hidden.status_code, hidden.json()["detail"]) == (
        400,
        "'one' is read by two on their own; save your label before you look at another.",
    )
    second = people.save("eva", "one", box((8, 18)), **{"class": "malignant"}).json()
    assert second["says"] == "Consensus of anna, eva."
    np.testing.assert_array_equal(people.mask("eva", "one", "reader:anna"), box((5, 15)))
    # Of two, what both drew; of their classes none is that of most.
    np.testing.assert_array_equal(people.mask("anna", "one"), box((8, 15)))
    told = people.ask("anna", "GET", "/datastore/label/info?label=one&tag=final").json()
    assert (told["class"], told["consensus"]) == (None, {"of": {"anna": 1, "eva": 1}, "method": "majority"})

    assert people.work("rita")["to_review"] == [{"image": "one", "why": "read by anna, eva"}]
    assert people.next("rita", review=True)["readers"] == ["anna", "eva"]
    sent = people.review("rita", "one", review="send_back", reader="anna", remark="The rim is missing.").json()
    assert (sent["round"], sent["readers"]) == (2, ["anna"])
    # What was sent back counts no more, and comes first for whose it is.
    np.testing.assert_array_equal(people.mask("rita", "one"), box((8, 18)))
    assert people.work("anna")["sent_back"][0]["remark"] == "The rim is missing."
    again = people.next("anna")
    assert (again["id"], again["round"], again["remark"], again["sent_back_by"]) == (
        "one",
        2,
        "The rim is missing.",
        "rita",
    )

    corrected = people.save("anna", "one", box((5, 20)), **{"class": "malignant"}).json()
    assert (corrected["version"], corrected["says"]) == (2, "Consensus of anna, eva.")
    np.testing.assert_array_equal(people.mask("anna", "one"), box((8, 18)))
    info = people.ask("anna", "GET", "/datastore/label/info?label=one").json()
    assert (info["round"], info["user"]) == (2, "anna")
    assert people.ask("rita", "GET", "/datastore/label/info?label=one").json()["class"] == "malignant"
    assert people.work("anna")["sent_back"] == []
    assert people.review("rita", "one", review="approve").status_code == 200
    assert people.work("rita")["to_review"] == []
    # It stands from then on; what is saved later is kept, and shown to the reviewer.
    assert "what rita has settled" in people.save("eva", "one", box((30, 38))).json()["says"]
    np.testing.assert_array_equal(people.mask("rita", "one"), box((8, 18)))
    assert people.work("rita")["to_review"] == [{"image": "one", "why": "saved anew by eva since it was settled"}]
    assert [one["review"] for one in people.ask("vera", "GET", "/readings/image?image=one").json()["decisions"]] == [
        "send_back",
        "approve",
    ]


def test_agreement_is_of_what_two_saw_on_their_own(people):
    for who, rows, of_class in (("anna", (5, 15), "benign"), ("eva", (8, 18), "benign")):
        people.save(who, "one", box(rows), **{"class": of_class})
    for who, of_class in (("anna", "malignant"), ("eva", "malignant")):
        people.save(who, "two", box((5, 15)), **{"class": of_class})
    people.review("rita", "one", review="send_back", reader="eva", remark="As anna has it.")
    people.save("eva", "one", box((5, 15)), **{"class": "malignant"})
    pairs = people.ask("rita", "GET", "/agreement/?output=pairs").text.splitlines()
    assert pairs[0].startswith("first,second,images,dice")
    cells = pairs[1].split(",")
    assert cells[:3] == ["anna", "eva", "2"] and float(cells[3]) == pytest.approx((0.7 + 1) / 2)
    assert cells[6:] == ["2", "2", "1.0000"]
    images = people.ask("rita", "GET", "/agreement/?output=images").text.splitlines()
    assert images[1:] == [
        "one,anna,eva,lesion,0.7000,benign,benign",
        "two,anna,eva,lesion,1.0000,malignant,malignant",
    ]
    page = people.ask("rita", "GET", "/agreement/").text
    assert "anna, eva" in page and "0.85" in page
    assert people.ask("anna", "GET", "/agreement/").status_code == 403


def test_who_disagrees_wholly_waits_for_a_choice_and_nothing_is_lost(people):
    people.save("anna", "one", box((2, 8)))
    says = people.save("eva", "one", box((20, 30))).json()["says"]
    assert says == "anna and eva do not outline the same; a reviewer chooses one of their labels."
    # Neither counts meanwhile, and a training would not see it.
    assert people.services.store.labelled() == []
    assert people.work("rita")["to_review"] == [{"image": "one", "why": "anna, eva do not outline the same"}]
    refused = people.review("rita", "one", review="approve")
    assert (refused.status_code, refused.json()["detail"]) == (
        400,
        "There is no label of 'one' to approve; choose one, or save your own.",
    )
    assert people.review("rita", "one", review="choose", reader="ida").json()["detail"].startswith("ida has no label")
    assert people.review("rita", "one", review="choose", reader="eva").status_code == 200
    np.testing.assert_array_equal(people.mask("rita", "one"), box((20, 30)))
    np.testing.assert_array_equal(people.mask("rita", "one", "reader:anna"), box((2, 8)))
    assert people.services.store.labelled() == ["one"]


def test_a_reviewer_edits_as_a_new_version(one_each):
    one_each.save("anna", "one", box((5, 15)))
    edited = one_each.save("rita", "one", box((5, 25))).json()
    assert (edited["tag"], edited["version"]) == ("final", 2)
    one_each.save("anna", "one", box((1, 3)))
    np.testing.assert_array_equal(one_each.mask("rita", "one"), box((5, 25)))
    assert [one["user"] for one in one_each.ask("rita", "GET", "/datastore/label/versions?label=one").json()] == [
        "anna",
        "rita",
    ]
    # As a reader of her own she saves under her own tag, and under nobody else's.
    assert one_each.save("rita", "one", box((5, 25)), tag="reader:rita").json()["tag"] == "reader:rita"
    refused = one_each.save("rita", "one", box((5, 25)), tag="reader:anna")
    assert (refused.status_code, refused.json()["detail"]) == (
        400,
        "'reader:anna' is anna's own; save yours without a tag.",
    )


def test_an_image_is_handed_to_one_for_a_time(one_each, monkeypatch):
    assert one_each.next("anna")["id"] == one_each.next("anna")["id"] == "one"
    assert one_each.next("eva")["id"] == "two"
    assert one_each.next("ida") == {}
    # Who only looks is told what comes next, and is given nothing.
    assert one_each.next("vera") == {}
    assert [one["image"] for one in one_each.work("eva")["assigned"]] == ["two"]
    one_each.save("anna", "one", box((5, 15)))
    assert one_each.work("anna")["assigned"] == []
    later = datetime.now(UTC) + timedelta(hours=25)

    class Later(datetime):
        @classmethod
        def now(cls, zone=None):
            return later

    monkeypatch.setattr(assignments, "datetime", Later)
    # One is read; eva has let the other one lie.
    assert one_each.next("ida")["id"] == "two"


def test_two_who_ask_at_once_get_different_images(one_each):
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(one_each.next, ("anna", "eva", "ida", "rita")))
    given = [one["id"] for one in found if one]
    assert sorted(given) == ["one", "two"]


def test_an_assignment_to_who_is_no_user_any_more_counts_for_nothing(users, tmp_path):
    own = tmp_path / "users.json"
    own.write_text(users.read_text())
    with served_people(own, tmp_path) as people:
        given = people.ask("rita", "PUT", "/readings/assignment?image=one&reader=ida").json()
        assert given["reader"] == "ida"
        people.save("ida", "two", box((5, 15)))
        assert people.next("anna") == {}
        known = json.loads(own.read_text())
        del known["users"]["ida"]
        own.write_text(json.dumps(known))
        # The image is free again; the label stays, and somebody else corrects it.
        assert people.next("anna")["id"] == "one"
        for answer in (
            people.ask("rita", "PUT", "/readings/assignment?image=one&reader=ida"),
            people.review("rita", "two", review="send_back", remark="Too large."),
        ):
            assert answer.status_code == 400
            assert answer.json()["detail"].startswith("ida is no user of this server any more; give '")
        np.testing.assert_array_equal(people.mask("rita", "two"), box((5, 15)))


def test_two_who_save_at_once_are_both_kept_and_both_count(people):
    def save(number):
        who = ("anna", "eva")[number % 2]
        return who, people.save(who, "one", box((5, 15 + number))).json()["version"], number

    with ThreadPoolExecutor(6) as pool:
        saved = list(pool.map(save, range(12)))
    for who, version, number in saved:
        content = people.ask(who, "GET", f"/datastore/label?label=one&tag=reader:{who}&version={version}").content
        mask = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(mask, box((5, 15 + number)))
    info = people.ask("rita", "GET", "/datastore/label/info?label=one").json()
    assert info["consensus"]["of"] == {"anna": 6, "eva": 6}
    both = people.mask("anna", "one", "reader:anna") & people.mask("anna", "one", "reader:eva")
    np.testing.assert_array_equal(people.mask("rita", "one"), both)


def test_what_reviewers_may_is_refused_to_others(people):
    people.save("anna", "one", box((5, 15)))
    for who in ("anna", "vera"):
        assert people.review(who, "one", review="approve").status_code == 403
        assert people.ask(who, "PUT", "/readings/assignment?image=one&reader=eva").status_code == 403
        assert people.save(who, "one", box((5, 15)), review="approve").status_code == 403
        assert people.ask(who, "POST", "/activelearning/first", json={"review": True}).status_code == 403
    assert people.services.readings.reviews.of("one") == []
    for wrong in ({"review": "edit"}, {"review": "send_back"}, {"review": "choose"}, {}, {"review": ["approve"]}):
        answer = people.review("rita", "one", **wrong)
        assert answer.status_code == 400
        assert answer.json()["detail"].count(".") >= 1
    assert people.services.readings.reviews.of("one") == []


def test_what_is_said_of_a_class_is_the_readers_own_too(people):
    people.save("anna", "one", box((5, 15)))
    people.save("eva", "one", box((5, 15)))
    for who in ("anna", "eva"):
        answer = people.ask(who, "PUT", "/datastore/label/info?label=one", data={"info": '{"class": "benign"}'})
        assert (answer.json()["user"], answer.json()["class"]) == (who, "benign")
    assert people.ask("rita", "GET", "/datastore/label/info?label=one").json()["class"] == "benign"
    # Who has none yet takes over what counts.
    answer = people.ask("ida", "PUT", "/datastore/label/info?label=one", data={"info": '{"class": "malignant"}'})
    assert (answer.json()["user"], answer.json()["voxels"]) == ("ida", {"1": 200})
    assert people.ask("rita", "GET", "/datastore/label/info?label=one").json()["class"] == "benign"


def test_the_client_of_monai_label_does_it_too(people, tmp_path):
    prepare()
    from monailabel.client import MONAILabelClient

    clients = {}
    for name in ("anna", "eva", "rita"):
        clients[name] = MONAILabelClient(people.address, tmpdir=str(tmp_path))
        clients[name].update_auth(clients[name].auth_token(name, password_of(name)))
    for name, rows in (("anna", (5, 15)), ("eva", (8, 18))):
        sample = clients[name].next_sample("first", {})
        path = write_png(tmp_path / f"{name}.png", box(rows))
        assert clients[name].save_label(sample["id"], str(path), "", {})["tag"] == f"reader:{name}"
    rita = clients["rita"]
    waiting = rita.next_sample("first", {"review": True})
    assert (waiting["id"], waiting["readers"]) == ("one", ["anna", "eva"])
    seen = rita.download_label("one", "reader:anna")
    np.testing.assert_array_equal(read_mask(seen), box((5, 15)))
    sent = {"review": "send_back", "reader": "anna", "remark": "Lower."}
    assert rita.save_label("one", seen, "final", sent)["says"] == ""
    assert clients["anna"].next_sample("first", {})["remark"] == "Lower."
    clients["anna"].save_label("one", str(tmp_path / "eva.png"), "", {})
    assert rita.save_label("one", seen, "final", {"review": "approve"})["review"] == "approve"
    np.testing.assert_array_equal(read_mask(rita.download_label("one", "final")), box((8, 18)))
    labels = rita.datastore()["objects"]["one"]["labels"]
    assert set(labels) == {"final", "reader:anna", "reader:eva"}


def test_of_dicom_the_consensus_is_stored_as_a_segmentation(users, tmp_path):
    gray = np.random.default_rng(0).integers(0, 255, SHAPE, np.uint8)
    write_us_dicom(tmp_path / "studies" / "us.dcm", gray, spacing=0.2, patient="US", uid_seed="readings")
    conf = {"no_models": "yes", "double": "1", "users": str(users)}
    with served(tmp_path / "studies", conf=conf) as (address, services):
        people = People(address, services)
        image = people.next("anna")["id"]
        stored = lambda: sorted((services.store.folder / "dicom").rglob("*.dcm"))  # noqa: E731
        people.save("anna", image, box((5, 15)))
        # Who has not read it would see it there.
        assert stored() == []
        people.save("eva", image, box((8, 18)))
        assert len(stored()) == 1
        assert services.store.labelled() == [image]


def test_a_share_is_read_twice_whatever_else_there_is(users, tmp_path):
    with served_people(users, tmp_path, double="0.2") as people:
        readings = people.services.readings
        chosen = [number for number in range(2000) if readings.needed(f"image {number}") == 2]
        assert 0.17 < len(chosen) / 2000 < 0.23
        assert chosen == [number for number in range(2000) if readings.needed(f"image {number}") == 2]


def test_without_users_a_label_is_final_as_it_comes(tmp_path):
    write_png(tmp_path / "studies" / "one.png", np.zeros(SHAPE, np.uint8))
    with served(tmp_path / "studies", conf={"no_models": "yes", "double": "1"}) as (address, services):
        label = {"label": ("label.png", cv2.imencode(".png", box((5, 15)))[1].tobytes())}
        assert requests.put(f"{address}/datastore/label?image=one", files=label).json()["tag"] == "final"
        assert requests.post(f"{address}/activelearning/first", json={}).json() == {}
        assert services.store.labels.tags() == ["final", "original"]
        assert not (services.store.folder / "assignments.json").exists()
