from breastkit.cases import write_cases
from breastkit.datasets.lesions import balanced, validated_without_lesion, with_lesion

ITEMS = [{"image": "a", "lesion_px": 3}, {"image": "b", "lesion_px": 0}, {"image": "c"}]


def test_only_images_with_a_lesion_or_without_knowledge_of_it():
    assert [item["image"] for item in with_lesion(ITEMS)] == ["a", "c"]


def test_the_choice_can_be_switched_off():
    assert with_lesion(ITEMS, only=False) == ITEMS


def test_the_rest_of_the_validation_items(tmp_path):
    items = [
        {"image": str(tmp_path / f"{n}.png"), "case": str(n), "lesion_px": n % 2, "fold": n // 4} for n in range(8)
    ]
    cases = write_cases(tmp_path, {"training": items[:6], "validation": items[6:]})
    for fold, expected in ((None, [6]), (0, [0, 2]), (1, [4])):
        used = with_lesion(cases.fold_lists(fold)[1])
        rest = validated_without_lesion(tmp_path, used, fold=fold)
        assert [int(item["case"]) for item in rest] == expected


def test_items_from_elsewhere_have_no_rest(tmp_path):
    assert validated_without_lesion(tmp_path, ITEMS) == []
    write_cases(tmp_path, {"training": ITEMS, "validation": [{"image": str(tmp_path / "d.png")}]})
    assert validated_without_lesion(tmp_path, [{"image": "/elsewhere/x.png"}]) == []


def test_every_site_is_learnt_from_as_often():
    items = [{"image": f"{site}{n}", "site": site} for site, count in (("a", 7), ("b", 3)) for n in range(count)]
    repeated = [item["image"] for item in balanced(items)]
    assert len([name for name in repeated if name[0] == "a"]) == len([name for name in repeated if name[0] == "b"]) == 7
    assert set(repeated) == {item["image"] for item in items}
    assert max(map(repeated.count, repeated)) == 3
    assert balanced(items) == balanced(items)
    assert balanced(items, by=[]) == items and balanced([]) == []
    # A set that does not say where it is from is one site.
    assert balanced(ITEMS) == ITEMS
