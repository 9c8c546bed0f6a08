"""Messages of several parts, written and split, and what is none."""

import pytest

from breastkit.dicomweb.multipart_related import PartsWriter, parameters_of, split_parts
from breastkit.errors import BreastkitError


def test_what_is_written_is_split_again():
    parts = [
        ("application/dicom", b"one\r\n--not a boundary\r\n"),
        ("application/dicom", b""),
        ("image/jpeg", b"\0\r\n\r\n"),
    ]
    writer = PartsWriter("application/dicom")
    assert split_parts(writer.content_type, b"".join(writer.write(parts))) == parts


def test_parts_as_other_clients_write_them():
    body = (
        b"before\r\n--b \r\ncontent-TYPE: Application/DICOM; x=1\r\nX: y\r\n\r\none\r\n--b\r\n\r\n2\r\n--b--\r\nafter"
    )
    assert split_parts("Multipart/Related;boundary=b;type=application/dicom", body) == [
        ("application/dicom", b"one"),
        ("", b"2"),
    ]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/related", b"--b\r\n\r\nx\r\n--b--"),
        ("multipart/related; boundary=\x00", b"--\x00\r\n\r\nx\r\n--\x00--"),
        ("multipart/form-data; boundary=b", b"--b\r\n\r\nx\r\n--b--"),
        ("multipart/related; boundary=b", b"--b\r\n\r\nx\r\n"),
        ("multipart/related; boundary=b", b"--b\r\nno empty line\r\n--b--"),
        ("multipart/related; boundary=b", b""),
    ],
)
def test_what_is_no_such_message_gets_a_sentence(kind, body):
    with pytest.raises(BreastkitError, match="; send"):
        split_parts(kind, body)


def test_quoted_parameters_may_hold_semicolons():
    assert parameters_of('a/b; type="x;y"; q=1') == ("a/b", {"type": "x;y", "q": "1"})
