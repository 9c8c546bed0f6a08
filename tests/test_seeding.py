from breastkit.seeding import generator


def test_streams_are_repeatable_and_independent():
    first = generator(1, "mri", 2).random(4)
    assert (generator(1, "mri", 2).random(4) == first).all()
    for other in (generator(2, "mri", 2), generator(1, "mri", 3), generator(1, "us", 2), generator(1)):
        assert (other.random(4) != first).all()
