"""The registry of writers: what is offered, what is chosen, and that a further one is a file and nothing else."""

import sys
from textwrap import dedent

import pytest
from tests.findings.made_up import mri_findings

from breastkit import cli, findings
from breastkit.errors import UsageError
from breastkit.findings.study_findings import MriFindings, PictureFindings, StudyFindings
from breastkit.findings.writers import Outputs, chosen_writers, writers_of


def test_each_command_offers_its_own():
    of_mri, of_us = writers_of(MriFindings), writers_of(PictureFindings)
    assert set(of_mri) - set(of_us) == {"nifti", "study"}
    assert not set(of_us) - set(of_mri)
    shared = {name for name, writer in of_mri.items() if of_us.get(name) is writer}
    assert shared >= {"html", "json", "pdf"}


def test_formats_are_chosen_by_name():
    offered = writers_of(MriFindings)
    assert chosen_writers(MriFindings) == [
        writer for name, writer in offered.items() if name not in ("probabilities", "sc")
    ]
    assert chosen_writers(MriFindings, "png, csv,png") == [offered["png"], offered["csv"]]
    with pytest.raises(UsageError, match=r"--formats takes .*csv, .* not 'nifty'; did you mean nifti\?"):
        chosen_writers(MriFindings, "csv,nifty")
    with pytest.raises(UsageError, match="not 'nifti'"):
        chosen_writers(PictureFindings, "nifti")
    with pytest.raises(UsageError, match="not ''"):
        chosen_writers(PictureFindings, "")


@pytest.mark.parametrize("verb", ["mri", "us"])
def test_a_wrong_format_is_wrong_usage_before_anything_is_read(tmp_path, capsys, verb):
    assert cli.main(["run", verb, str(tmp_path / "none"), "--out", str(tmp_path / "out"), "--formats", "docx"]) == 2
    assert "separated by commas, not 'docx'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_only_what_was_asked_for_is_written(tmp_path):
    outputs = Outputs(tmp_path / "two", chosen_writers(MriFindings, "json,nifti"))
    outputs.write(mri_findings(lesions=0))
    assert outputs.finish() == tmp_path / "two"
    written = sorted(path.name for path in (tmp_path / "two").iterdir())
    assert written == ["breast.nii.gz", "findings.json", "lesions.nii.gz", "sides.nii.gz"]
    outputs = Outputs(tmp_path / "all", chosen_writers(MriFindings))
    outputs.write(mri_findings(lesions=0))
    assert outputs.finish() == tmp_path / "all" / "report.html"
    assert (tmp_path / "all" / "overlay.png").is_file()


WRITER = '''
    from breastkit.atomic import write_text
    from breastkit.findings.study_findings import StudyFindings
    from breastkit.findings.writers import Writer


    class DoubtCount(Writer[StudyFindings]):
        """Writes how much is doubtful."""

        format = "doubt_count"
        takes = StudyFindings

        def files(self, findings):
            return {"doubts": f"{findings.name}_doubts.txt"}

        def write(self, findings, files):
            write_text(self.folder / files["doubts"], f"{len(findings.doubts)}")
'''


@pytest.fixture
def further(tmp_path, monkeypatch):
    """A folder whose modules are among those of the package, as if a file had been put there."""
    folder = tmp_path / "further"
    folder.mkdir()
    (folder / "doubt_count.py").write_text(dedent(WRITER))
    monkeypatch.setattr(findings, "__path__", [*findings.__path__, str(folder)])
    yield folder
    for name in [name for name in sys.modules if name.startswith("breastkit.findings.") and "count" in name]:
        del sys.modules[name]


def test_a_further_writer_is_one_file(further, tmp_path):
    for kind in (StudyFindings, MriFindings, PictureFindings):
        assert "doubt_count" in writers_of(kind)
    outputs = Outputs(tmp_path / "out", chosen_writers(MriFindings, "doubt_count"))
    outputs.write(mri_findings(lesions=0))
    assert (tmp_path / "out" / "study_doubts.txt").read_text() == "1"


def test_two_writers_of_one_name_are_pointed_out(further):
    (further / "other_count.py").write_text(dedent(WRITER))
    with pytest.raises(ValueError, match=r"doubt_count and breastkit.findings.other_count both write doubt_count"):
        writers_of(MriFindings)


def test_the_example_in_the_documentation_works(further, tmp_path):
    text = findings.__doc__.split("``findings/lesion_count.py``::")[1].split("``takes = MriFindings``")[0]
    (further / "lesion_count.py").write_text(dedent(text))
    outputs = Outputs(tmp_path / "out", chosen_writers(MriFindings, "count"))
    outputs.write(mri_findings(lesions=0))
    assert (tmp_path / "out" / "study_count.txt").read_text() == "0\n"
