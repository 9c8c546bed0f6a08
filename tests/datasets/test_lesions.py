from breastkit.datasets.lesions import with_lesion

ITEMS = [{"image": "a", "lesion_px": 3}, {"image": "b", "lesion_px": 0}, {"image": "c"}]


def test_only_images_with_a_lesion_or_without_knowledge_of_it():
    assert [item["image"] for item in with_lesion(ITEMS)] == ["a", "c"]


def test_the_choice_can_be_switched_off():
    assert with_lesion(ITEMS, only=False) == ITEMS
