"""What Accept headers of real clients mean."""

import pytest

from breastkit.dicomweb.media_types import Accepted, accepted_by, fits, should_decompress

EXPLICIT, JPEG = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.50"


def test_headers_of_ohif_and_dicomweb_client():
    assert accepted_by("") == accepted_by("*/*") == [Accepted("*/*", None, "")]
    assert accepted_by("multipart/related; type=application/octet-stream; transfer-syntax=*") == [
        Accepted("application/octet-stream", True, "*")
    ]
    assert accepted_by('multipart/related; type="image/jpeg"; transfer-syntax=1.2, image/png;q=0.5') == [
        Accepted("image/jpeg", True, "1.2"),
        Accepted("image/png", False, ""),
    ]


def test_groups_of_media_types():
    assert fits("image/jpeg", "image/*") and fits("image/jpeg", "*/*") and fits("image/jpeg", "image/jpeg")
    assert not fits("image/jpeg", "image/png") and not fits("application/dicom", "image/*")


@pytest.mark.parametrize(
    ("syntaxes", "served", "expected"),
    [
        (["*"], JPEG, False),
        ([""], JPEG, False),
        ([JPEG], JPEG, False),
        ([EXPLICIT], JPEG, True),
        (["1.2.3"], JPEG, None),
        (["1.2.3", EXPLICIT], EXPLICIT, False),
    ],
)
def test_pixels_are_decompressed_only_where_nothing_else_is_accepted(syntaxes, served, expected):
    assert should_decompress([Accepted("application/dicom", True, one) for one in syntaxes], served) is expected
