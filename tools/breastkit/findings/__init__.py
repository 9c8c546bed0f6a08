"""What was found in a study or picture, and the writers of it.

A pipeline returns `StudyFindings`: `MriFindings` of a dynamic MRI study, `PictureFindings` of an ultrasound picture.
Each output of ``breastkit run mri`` and ``breastkit run us`` is a `Writer` in a module of its own in this folder. The
commands find it there, so that adding an output takes one file and its test; ``--formats`` names the outputs that are
wanted, and all but those on request are written by default. A whole one, ``findings/lesion_count.py``::

    from collections.abc import Mapping
    from typing import ClassVar

    from breastkit.atomic import write_text
    from breastkit.findings.study_findings import StudyFindings
    from breastkit.findings.writers import Writer


    class LesionCount(Writer[StudyFindings]):
        \"\"\"Writes how many lesions a study or picture shows: ``x_count.txt``.\"\"\"

        format: ClassVar[str] = "count"
        takes: ClassVar[type[StudyFindings]] = StudyFindings

        def files(self, findings: StudyFindings) -> dict[str, str]:
            \"\"\"Returns the name of the file.\"\"\"
            return {"count": f"{findings.name}_count.txt"}

        def write(self, findings: StudyFindings, files: Mapping[str, str]) -> None:
            \"\"\"Writes the number.\"\"\"
            write_text(self.folder / files["count"], f"{len(findings.lesions)}\\n")

``takes = MriFindings`` or ``takes = PictureFindings`` offers it by one command alone. A table of all studies begins
in `__init__`, grows in `write` and ends in `finish`; `ultrasound_csv` is one.
"""
