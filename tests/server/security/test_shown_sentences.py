"""What clients are shown names files without the folders of this machine."""

import pytest

from breastkit.server.security.shown_sentences import without_folders


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("/data/studies/us 1.png is damaged; copy it again.", "us 1.png is damaged; copy it again."),
        ("Not /tmp/a/b.nii.gz, but '/data/c.dcm' (/x/y).", "Not b.nii.gz, but 'c.dcm' (y)."),
        ("/a b/my studies/deep er/us.png is damaged.", "us.png is damaged."),
        ("See /info/ or http://127.0.0.1:80/info/x.", "See /info/ or http://127.0.0.1:80/info/x."),
        ("3/4 of 1/2 and ../x/y stay.", "3/4 of 1/2 and ../x/y stay."),
    ],
)  # fmt: skip
def test_names_alone_are_left(said, shown):
    assert without_folders(said, "/a b/my studies") == shown
