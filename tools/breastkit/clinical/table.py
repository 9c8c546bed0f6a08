"""A clinical table as it is published: patients, and columns of three kinds whose codes have names."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from breastkit.clinical.codes import is_missing, meanings
from breastkit.datasets.tissue import patient_id
from breastkit.errors import BreastkitError

_PATIENT = ("patient_id", "patient id", "patientid", "patient", "subject_id", "case_id", "id")
_PATIENT_NAMES = {"patient_id", "patientid"}
# What is graded or staged has an order; receptors and subtypes have none, whatever their codes are.
_ORDERED = re.compile(r"grade|stag(e|ing)|\[[tn]\]|(^|_)[tn](_|$)|birads|bi_rads")
_GROUPED = re.compile(r"^(er|pr|her2|ki67_group)$|subtype|histolog|recept|race|ethnic|menopaus|site$|dataset")
# A column of words with more different ones than this is text, no category.
_MOST_CATEGORIES = 30
# As Duke's titles say it of Nx and Mx.
_NOT_ASSESSED = re.compile(r"[nm]x\s*-?\s*replaced by -1", re.IGNORECASE)
# Whole numbers with at most so many different values may be codes.
_FEW = 2

# Words in which grades are told, from the lowest.
_RISING = ("none", "low", "i", "1", "intermediate", "moderate", "ii", "2", "high", "iii", "3", "iv", "4")


class Kind(StrEnum):
    """What may be computed of a column."""

    NUMERIC = "numeric"
    ORDINAL = "ordinal"
    NOMINAL = "nominal"
    TEXT = "text"


@dataclass(frozen=True)
class Column:
    """A column of a clinical table.

    Attributes:
        name: in lower case, with underscores.
        title: as the table writes it.
        kind: what it holds.
        values: by patient; numbers, and of nominal and ordinal ones the codes; NaN where nothing is known.
        names: of the codes, in their order.
    """

    name: str
    title: str
    kind: Kind
    values: pd.Series[float]
    names: dict[float, str]

    @property
    def labels(self) -> pd.Series[str]:
        """The values by their names, without what is missing."""
        return self.values.dropna().map(lambda code: self.names.get(code, f"{code:g}"))

    @property
    def missing(self) -> int:
        """How many patients have no value."""
        return int(self.values.isna().sum())


@dataclass(frozen=True)
class ClinicalTable:
    """A clinical table.

    Attributes:
        path: of its file.
        patients: their identifiers, as images are matched: the last run of digits without leading zeros.
        columns: by name, without text.
        by_name: whether the number alone would mix patients up, as DUKE_001 and NACT_01 of one table; the words
            before it then count too.
    """

    path: Path
    patients: tuple[str, ...]
    columns: dict[str, Column]
    by_name: bool = False

    def patient(self, name: str) -> str:
        """Returns the patient that another table or a case list names."""
        return _named_patient(name) if self.by_name else patient_id(name)

    def chosen(self, names: Sequence[str]) -> list[Column]:
        """Returns columns by their names or titles.

        Raises:
            BreastkitError: if there is none of a name.
        """
        names = [name.strip() for each in names for name in str(each).split(",")]
        of_name = {**{column.title.lower(): column for column in self.columns.values()}, **self.columns}
        for name in names:
            if name.lower() not in of_name and plain_name(name) not in of_name:
                raise BreastkitError(f"{self.path} has no column {name}; there are {', '.join(self.columns)}.")
        return [of_name.get(name.lower()) or of_name[plain_name(name)] for name in names]

    @property
    def usual(self) -> list[Column]:
        """What is looked at unless something else is asked for: receptors, subtype and grade, where there are any."""
        wanted = (r"er", r"pr", r"her2", r"((mol|molecular|tumor)_)?subtype", r"(nottingham_|tumor_|tumour_)?grade")
        found = []
        for pattern in wanted:
            names = [name for name in self.columns if re.fullmatch(pattern, name)]
            # Nottingham's comes before others.
            found += sorted(names, key=lambda name: ("nottingham" not in name, name))[:1]
        return [self.columns[name] for name in found] or list(self.columns.values())


def read_clinical(
    path: str | Path,
    *,
    ordinal: Sequence[str] = (),
    nominal: Sequence[str] = (),
    numeric: Sequence[str] = (),
) -> ClinicalTable:
    """Reads a clinical table: CSV or XLSX with a row of names, or the workbook of Duke-Breast-Cancer-MRI.

    Args:
        path: the file.
        ordinal: columns that are to be taken as ordered categories, whatever they look like.
        nominal: as categories without order.
        numeric: as numbers.

    Raises:
        BreastkitError: if it cannot be read, has no patients, or tells two things of one patient.
    """
    path = Path(path)
    raw, explained = _read(path)
    name = next((name for wanted in _PATIENT for name in raw if plain_name(name) == plain_name(wanted)), None)
    if name is None:
        raise BreastkitError(f"{path} has no column of patients; call it patient_id.")
    raw = raw[~raw[name].map(is_missing)]
    written = [patient_name(value) for value in raw.pop(name)]
    by_name = mixed_up(written) is not None
    raw.index = pd.Index([(_named_patient if by_name else patient_id)(value) for value in written])
    if raw.empty:
        raise BreastkitError(f"{path} holds no patients; fetch it again.")
    raw = _once_each(raw, path)
    table = ClinicalTable(path, tuple(raw.index), dict(_columns(raw, explained)), by_name)
    given = ((Kind.ORDINAL, ordinal), (Kind.NOMINAL, nominal), (Kind.NUMERIC, numeric))
    for kind, names in given:
        for column in table.chosen(names):
            table.columns[column.name] = _column(
                column.name, column.title, raw[column.title], explained.get(column.title, ""), kind
            )
    return table


def patient_name(cell: object) -> str:
    """Returns what a cell of the column of patients says; spreadsheets make 7.0 of 7."""
    return str(cell).strip().removesuffix(".0")


def mixed_up(names: Sequence[str]) -> tuple[str, str] | None:
    """Returns two names of different patients that end in the same number, if there are any."""
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(patient_id(name), name)
        if _named_patient(other) != _named_patient(name):
            return other, name
    return None


def _named_patient(name: str) -> str:
    """Returns a name up to its last digit, in lower case, its numbers without leading zeros."""
    through = re.match(r".*\d", name)
    return re.sub(r"\d+", lambda run: run[0].lstrip("0") or "0", (through[0] if through else name).lower())


def plain_name(title: object) -> str:
    """Returns a title in lower case with underscores, as options and files name columns."""
    return re.sub(r"[^a-z0-9]+", "_", str(title).lower()).strip("_")


def read_rows(path: Path) -> pd.DataFrame:
    """Reads a CSV or XLSX file as text, whatever its separator and encoding.

    Raises:
        BreastkitError: if it is missing, empty or no table.
    """
    if not path.is_file():
        raise BreastkitError(f"{path} does not exist; check the path.")
    if path.suffix.lower() in (".xlsx", ".xlsm"):
        try:
            sheets = pd.read_excel(
                path, sheet_name=None, header=None, dtype=object, keep_default_na=False, na_values=[]
            )
        except Exception as error:  # openpyxl raises whatever a damaged archive makes it stumble over
            raise BreastkitError(f"{path} cannot be read as a workbook ({error}); fetch it again.") from error
        # Other sheets of the published workbooks explain, or hold the splits.
        rows = next((rows for rows in sheets.values() if _names_patients(rows)), next(iter(sheets.values())))
        rows = rows.map(lambda cell: "" if cell is None or cell != cell else str(cell).removesuffix(".0"))
    else:
        rows = _csv_rows(path)
    if len(rows) < 2 or rows.shape[1] < 2:
        raise BreastkitError(f"{path} is no table with a row of names and a row a patient; fetch it again.")
    return rows


def to_numbers(values: pd.Series[Any]) -> pd.Series[float]:
    """Returns text as numbers, decimal commas understood; NaN for what is missing, no number or not finite."""
    text = values.map(lambda value: "" if is_missing(value) else str(value).strip().replace(",", "."))
    numbers = pd.to_numeric(text, errors="coerce").astype(float)
    return numbers.where(np.isfinite(numbers))


def _names_patients(rows: pd.DataFrame) -> bool:
    return len(rows) > 2 and bool({plain_name(cell) for cell in rows.head(2).to_numpy().ravel()} & _PATIENT_NAMES)


def _csv_rows(path: Path) -> pd.DataFrame:
    data = path.read_bytes()
    text = None
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            text = data.decode(encoding)
            break
        except UnicodeDecodeError:
            continue
    if text is None or "\0" in text:
        raise BreastkitError(f"{path} is no text; save it as CSV in UTF-8.")
    first = text.partition("\n")[0]
    separator = max(",;\t", key=first.count)
    rows = list(csv.reader(io.StringIO(text), delimiter=separator))
    rows = [row for row in rows if any(cell.strip() for cell in row)]
    width = len(rows[0]) if rows else 0
    uneven = next((number for number, row in enumerate(rows, start=1) if len(row) > width), None)
    if uneven is not None:
        raise BreastkitError(f"{path} has more cells in line {uneven} than names; put text with commas in quotes.")
    return pd.DataFrame([row + [""] * (width - len(row)) for row in rows])


def _read(path: Path) -> tuple[pd.DataFrame, dict[str, str]]:
    """Returns the patients' rows under the titles of their columns, and what is explained of columns."""
    rows = read_rows(path)
    # Columns of nothing, as a spreadsheet leaves them behind.
    rows = rows.loc[:, ~rows.map(is_missing).all()]
    if plain_name(rows.iloc[0, 0]) == "patient_information" and len(rows) > 3:
        return _of_duke(rows)
    titles = [str(title).strip() for title in rows.iloc[0]]
    titles = [title or f"column {number}" for number, title in enumerate(titles, start=1)]
    repeated = [title for title, count in Counter(map(plain_name, titles)).items() if count > 1]
    if repeated:
        raise BreastkitError(f"{path} has two columns called {repeated[0]}; give each a name of its own.")
    table = rows.iloc[1:].copy()
    table.columns = pd.Index(titles)
    return table, {}


def _of_duke(rows: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, str]]:
    """Reads Duke's workbook: rows of groups, of titles and of explanations stand above the patients."""
    # A group without columns of its own is a heading.
    rows = rows.loc[:, ~rows.iloc[1:].map(is_missing).all()]
    groups = pd.Series(rows.iloc[0].replace("", np.nan)).ffill().fillna("")
    titles: list[str] = []
    explained: dict[str, str] = {}
    for group, title, below in zip(groups, rows.iloc[1], rows.iloc[2], strict=True):
        lines = [line.strip() for line in str(below).splitlines() if line.strip()]
        first = lines[0].split("{")[0].strip() if lines else ""
        # Some titles span columns; what is below then names each. Others are repeated in a further group.
        name = re.sub(r"\([^()]*replaced by[^()]*\)", "", str(title)).strip() or first
        name = first if first.startswith(name) else name
        if plain_name(name) in map(plain_name, titles):
            name = f"{name} ({str(group).strip()})" if plain_name(name) != "" else ""
        while name == "" or plain_name(name) in map(plain_name, titles):
            name = f"{name or 'column'} {len(titles) + 1}"
        titles.append(" ".join(name.split()))
        explained[titles[-1]] = f"{title}\n{below}" if _NOT_ASSESSED.search(str(title)) else str(below)
    table = rows.iloc[3:].copy()
    table.columns = pd.Index(titles)
    return table, explained


def _once_each(raw: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Returns one row a patient.

    Raises:
        BreastkitError: if two rows of one patient differ.
    """
    raw = raw.reset_index(names="patient_id").drop_duplicates().set_index("patient_id")
    if raw.index.has_duplicates:
        twice = raw.index[raw.index.duplicated()][0]
        differing = [title for title in raw if raw.loc[twice, title].nunique() > 1]
        raise BreastkitError(
            f"{path} holds patient {twice} twice, with different values of {', '.join(differing[:3])}; keep one row a "
            "patient."
        )
    return raw


def _place(word: str) -> tuple[int, str]:
    """Returns where a word stands among others: words that rise as they do, others by the alphabet."""
    return (_RISING.index(word.lower()) if word.lower() in _RISING else len(_RISING), word)


def _columns(raw: pd.DataFrame, explained: dict[str, str]) -> Iterator[tuple[str, Column]]:
    for title in raw:
        column = _column(plain_name(title), str(title), raw[title], explained.get(str(title), ""))
        if column.kind is not Kind.TEXT:
            yield column.name, column


def _column(name: str, title: str, raw: pd.Series[Any], explained: str, kind: Kind | None = None) -> Column:
    text = raw.map(lambda value: "" if is_missing(value) else str(value).strip())
    seen = sorted(set(text) - {""})
    codes = meanings(explained, seen)
    known = [code for code in seen if code in codes]
    if _NOT_ASSESSED.search(explained):
        # What could not be assessed is not known.
        text = text.replace("-1", "")
    numbers = to_numbers(text)
    coded = len(known) > len(seen) / 2
    if kind is None:
        kind = _kind(name, seen, numbers, coded=coded)
    if kind is Kind.NUMERIC:
        return Column(name, title, kind, numbers, {})
    if kind is not Kind.TEXT and coded:
        text = text.where(~text.map(lambda value: is_missing(codes.get(value, "known"))), "")
    if numbers.notna().sum() == (text != "").sum():
        names = {float(code): codes.get(code, code) for code in seen if to_numbers(pd.Series([code])).notna().all()}
        return Column(name, title, kind, numbers.where(text != ""), dict(sorted(names.items())))
    # Words have no codes: they are numbered in their order.
    words = sorted(set(text) - {""}, key=_place)
    of_word = {word: float(number) for number, word in enumerate(words)}
    names = {number: codes.get(word, word) for word, number in of_word.items()}
    return Column(name, title, kind, text.map(of_word).astype(float), names)


def _kind(name: str, seen: Sequence[str], numbers: pd.Series[float], *, coded: bool) -> Kind:
    values = numbers.dropna().unique()
    stray = int(to_numbers(pd.Series(seen, dtype=object)).isna().sum())
    if not coded and (stray or not len(values)):
        # A stray word among many numbers is a cell that was filled in wrongly.
        if len(values) > 5 and stray <= 0.1 * len(seen):
            return Kind.NUMERIC
        if seen and _ORDERED.search(name) and all(word.lower() in _RISING for word in seen):
            return Kind.ORDINAL
        return Kind.NOMINAL if len(seen) <= _MOST_CATEGORIES else Kind.TEXT
    if _GROUPED.search(name) and len(seen) <= _MOST_CATEGORIES:
        return Kind.NOMINAL
    few = len(values) <= 6 and all(float(value).is_integer() for value in values)
    if _ORDERED.search(name) and (few or coded):
        return Kind.ORDINAL
    if coded or (few and len(values) <= _FEW):
        return Kind.NOMINAL
    return Kind.NUMERIC
