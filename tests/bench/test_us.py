import numpy as np

from breastkit.bench.us import reader_of, write_weights


def test_every_part_of_the_chain_works_in_what_is_measured(tmp_path):
    """An empty mask would spare the second classifier, a class of normal the map of the first."""
    reader = reader_of(write_weights(tmp_path), "torch")
    gray = np.random.default_rng(0).integers(0, 256, (60, 80), dtype=np.uint8)
    reading = reader.read(gray)
    assert reading.mask.all()
    assert (reading.label, reading.decided_by) == ("malignant", "fusion")
    assert reading.relevance.shape == gray.shape
