from benchmarks.us import measure, phantom_pictures
from breastkit.bundle import Bundle
from breastkit.inference.ultrasound import UltrasoundReader
from breastkit.pipelines import ULTRASOUND


def test_every_part_of_the_chain_works_in_what_is_measured():
    """Where no lesion is outlined the second classifier would be spared."""
    pictures = phantom_pictures(3, size=(120, 150))
    assert {gray.shape for gray in pictures} == {(120, 150)}
    found, seconds = measure(UltrasoundReader.of_bundle(Bundle(ULTRASOUND), backend="torch"), pictures, explain=True)
    assert found >= 1
    assert len(seconds) == 3
