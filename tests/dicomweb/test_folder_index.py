"""The index follows its folder, and the client it stands in for still has the faults it was made for."""

import os
import tracemalloc

import numpy as np
import pydicom
import pytest
from dicomweb_client import DICOMfileClient
from pydicom.uid import ImplicitVRLittleEndian

from breastkit.dicom.write_us import write_us_dicom
from breastkit.dicomweb.folder_index import FolderIndex
from breastkit.dicomweb.folder_search import Level, Query, search
from breastkit.errors import BreastkitError


def write_picture(path, seed="1", **tags):
    write_us_dicom(path, np.zeros((4, 6), np.uint8), spacing=0.1, patient=f"P{seed}^", uid_seed=seed)
    if tags:
        with pydicom.config.disable_value_validation():
            dataset = pydicom.dcmread(path)
            for name, value in tags.items():
                setattr(dataset, name, value)
            dataset.save_as(path)
    return path


def patients(index, **wanted):
    found = search(index, Level.STUDIES, Query.of(wanted.items()), url_of="/".join)
    return [study["00100020"]["Value"][0] for study in found]


def test_new_changed_and_vanished_files(tmp_path):
    write_picture(tmp_path / "a.dcm", "1")
    write_picture(tmp_path / "deep" / "b.dcm", "2")
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / ".hidden.dcm").write_bytes((tmp_path / "a.dcm").read_bytes())
    (tmp_path / "broken.dcm").write_bytes((tmp_path / "a.dcm").read_bytes()[:300])
    index = FolderIndex([tmp_path])
    assert sorted(patients(index)) == ["P1^", "P2^"]
    (tmp_path / "a.dcm").unlink()
    write_picture(tmp_path / "deep" / "b.dcm", "2", PatientID="renamed")
    write_picture(tmp_path / "c.dcm", "3")
    assert sorted(patients(index)) == ["P1^", "P2^"]
    index.refresh()
    assert sorted(patients(index)) == ["P3^", "renamed"]
    assert len(index) == 2
    index.add(write_picture(tmp_path / "d.dcm", "4"))
    assert "P4^" in patients(index)


def test_what_objects_of_a_series_have_in_common_is_kept_once(tmp_path):
    for number in range(100):
        write_picture(tmp_path / f"{number}.dcm", InstanceNumber=number, SOPInstanceUID=f"1.2.{number}")
    tracemalloc.start()
    try:
        index = FolderIndex([tmp_path])
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Each with its own would be fifteen kilobytes an object: more than a gigabyte for a hundred dynamic studies.
    assert len(index) == 100 and kept < 100 * 5000
    first, second, *_ = index
    assert first.attributes["00100020"] is second.attributes["00100020"]


def test_copies_count_once_and_links_do_not_lead_out(tmp_path):
    first = write_picture(tmp_path / "in" / "a.dcm", "1")
    (tmp_path / "in" / "copy.dcm").write_bytes(first.read_bytes())
    os.link(first, tmp_path / "in" / "hard.dcm")
    write_picture(tmp_path / "out" / "b.dcm", "2")
    (tmp_path / "in" / "link.dcm").symlink_to(tmp_path / "out" / "b.dcm")
    (tmp_path / "in" / "folder").symlink_to(tmp_path / "out")
    index = FolderIndex([tmp_path / "in", tmp_path / "in"])
    assert patients(index) == ["P1^"]
    assert len(index) == 1


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(BreastkitError, match="is not a folder"):
        FolderIndex([tmp_path / "nowhere"])


def test_a_filter_that_cannot_be_answered_is_refused_instead_of_left_out():
    with pytest.raises(BreastkitError, match="cannot be searched for"):
        Query.of([("RepetitionTime", "3")])


def test_the_file_client_still_needs_this_index(tmp_path):
    """Fails when dicomweb-client's own client for folders does what is needed: then this index may go."""
    write_picture(tmp_path / "a.dcm", "1", AccessionNumber="a number of 20 chars")
    implicit = pydicom.dcmread(write_picture(tmp_path / "b.dcm", "2"))
    implicit.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    implicit.save_as(tmp_path / "b.dcm", implicit_vr=True, little_endian=True)
    client = DICOMfileClient(f"file://{tmp_path}", in_memory=True)
    index = FolderIndex([tmp_path])
    assert len(index) == 2 and len(client.search_for_instances()) == 1
    assert not patients(index, ModalitiesInStudy="CT")
    assert client.search_for_studies(search_filters={"ModalitiesInStudy": "CT"})
    assert not patients(index, StudyDate="19990101-19991231")
    assert client.search_for_studies(search_filters={"StudyDate": "19990101-19991231"})
    uids = (implicit.StudyInstanceUID, implicit.SeriesInstanceUID, implicit.SOPInstanceUID)
    with pytest.raises(Exception, match="500 Server Error"):
        client.retrieve_instance(*uids)
