from collections import Counter, defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from breastkit.datasets.splits import split_items

CLASSES = ("normal", "benign", "malignant")


@st.composite
def sets(draw):
    groups = draw(st.lists(st.tuples(st.integers(1, 5), st.sampled_from(CLASSES)), min_size=1, max_size=40))
    return [
        {"image": f"/set/{group}_{view}.png", "case": f"g{group}", "class": kind}
        for group, (views, kind) in enumerate(groups)
        for view in range(views)
    ]


def places(split):
    return {item["image"]: (name, item.get("fold")) for name, items in split.lists.items() for item in items}


@settings(max_examples=150, deadline=None)
@given(items=sets(), seed=st.integers(0, 5))
def test_nothing_is_lost_and_no_group_is_on_both_sides(items, seed):
    split = split_items(items, seed=seed, stratify="class")
    assert sorted(places(split)) == sorted(item["image"] for item in items)
    sides = defaultdict(set)
    for name, listed in split.lists.items():
        for item in listed:
            sides[item["case"]].add((name, item.get("fold")))
            assert ("fold" in item) == (name == "training")
    assert all(len(side) == 1 for side in sides.values())
    groups = len({item["case"] for item in items})
    filled = [name for name, listed in split.lists.items() if listed]
    assert len(filled) == min(3, groups)


@settings(max_examples=60, deadline=None)
@given(items=sets(), order=st.randoms(use_true_random=False))
def test_the_order_of_the_items_does_not_matter(items, order):
    shuffled = list(items)
    order.shuffle(shuffled)
    assert places(split_items(items, stratify="class")) == places(split_items(shuffled, stratify="class"))


@settings(max_examples=100, deadline=None)
@given(items=sets(), share=st.floats(0, 1), seeds=st.tuples(st.integers(0, 9), st.integers(0, 9)))
def test_adding_cases_moves_none(items, share, seeds):
    groups = sorted({item["case"] for item in items})
    old_groups = set(groups[: round(share * len(groups))])
    old = split_items([item for item in items if item["case"] in old_groups], seed=seeds[0], stratify="class")
    grown = places(split_items(items, seed=seeds[1], stratify="class", previous=old.lists))
    assert places(old).items() <= grown.items()
    assert len(grown) == len(items)
    if len(groups) - len(old_groups) >= 3:
        assert {name for name, _ in grown.values()} == {"training", "validation", "test"}


def test_shares_and_classes_are_kept():
    items = [
        {"image": f"/{n}.png", "case": str(n), "class": CLASSES[0 if n % 5 == 0 else 1 if n % 5 < 4 else 2]}
        for n in range(500)
    ]
    split = split_items(items, stratify="class")
    assert [len(split.lists[name]) for name in ("training", "validation", "test")] == [350, 100, 50]
    for name, share in (("training", 0.7), ("validation", 0.2), ("test", 0.1)):
        counts = Counter(item["class"] for item in split.lists[name])
        assert counts == {"normal": 100 * share, "benign": 300 * share, "malignant": 100 * share}
    folds = Counter((item["fold"], item["class"]) for item in split.lists["training"])
    assert set(folds.values()) == {14, 42}


def test_another_seed_gives_another_split():
    items = [{"image": f"/{n}.png", "case": str(n)} for n in range(60)]
    assert places(split_items(items, seed=1)) != places(split_items(items, seed=2))


def test_a_new_image_that_ties_two_sides_together_is_left_out():
    items = [{"image": f"/{n}.png", "case": str(n)} for n in range(20)]
    old = split_items(items)
    left, right = old.lists["training"][0], old.lists["test"][0]
    merged = [item | {"case": "tied"} if item["image"] in (left["image"], right["image"]) else item for item in items]
    bridge = {"image": "/bridge.png", "case": "tied"}
    new = split_items([*merged, bridge], previous=old.lists)
    assert new.left_out == [bridge]
    assert places(new) == places(old)


def test_folds_a_set_brings_are_honoured():
    items = [{"image": f"/{n}.png", "case": str(n // 2), "fold": n // 2 % 5} for n in range(40)]
    split = split_items(items, fractions=(1, 0, 0))
    assert {item["image"]: item["fold"] for item in split.lists["training"]} == {i["image"]: i["fold"] for i in items}


def test_large_groups_reach_every_list():
    items = [{"image": f"/{n}-{view}.png", "case": str(n)} for n in range(200) for view in range(1 + n % 4)]
    split = split_items(items)
    for name, share in (("training", 0.7), ("validation", 0.2), ("test", 0.1)):
        sizes = Counter(Counter(item["case"] for item in split.lists[name]).values())
        assert set(sizes) == {1, 2, 3, 4}
        assert abs(len(split.lists[name]) / len(items) - share) < 0.02
