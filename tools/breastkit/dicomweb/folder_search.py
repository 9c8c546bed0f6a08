"""Searching an index of DICOM files for studies, series and instances, as DICOMweb's QIDO-RS asks for them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from breastkit.dicomweb.attribute_matching import attribute_named, matches
from breastkit.dicomweb.folder_index import (
    INSTANCE_ATTRIBUTES,
    SERIES_ATTRIBUTES,
    STUDY_ATTRIBUTES,
    FolderIndex,
    Instance,
    tag_of,
)
from breastkit.errors import BreastkitError

_MODALITIES_IN_STUDY = tag_of("ModalitiesInStudy")
_SEARCHABLE = {tag_of(name) for name in (*STUDY_ATTRIBUTES, *SERIES_ATTRIBUTES, *INSTANCE_ATTRIBUTES)}


class Level(Enum):
    """What is searched for."""

    STUDIES = "studies"
    SERIES = "series"
    INSTANCES = "instances"

    @property
    def attributes(self) -> tuple[str, ...]:
        """Keywords of the attributes that a result of this level tells."""
        if self is Level.STUDIES:
            return STUDY_ATTRIBUTES
        if self is Level.SERIES:
            return STUDY_ATTRIBUTES + SERIES_ATTRIBUTES
        return STUDY_ATTRIBUTES + SERIES_ATTRIBUTES + INSTANCE_ATTRIBUTES

    def key(self, instance: Instance) -> tuple[str, ...]:
        """Returns the identifiers of what an instance belongs to on this level."""
        return (instance.study, instance.series, instance.uid)[: list(Level).index(self) + 1]


@dataclass(frozen=True)
class Query:
    """What is asked for.

    Attributes:
        filters: tag, value representation and wanted value of each; all must match.
        limit: most results, None for all.
        offset: results to leave out at the beginning.
        fuzzy: whether names may match by the beginnings of their words.
    """

    filters: tuple[tuple[str, str, str], ...] = ()
    limit: int | None = None
    offset: int = 0
    fuzzy: bool = False

    @classmethod
    def of(cls, wanted: Iterable[tuple[str, str]], **options: Any) -> Query:
        """Returns a query for pairs of an attribute's name and value.

        Raises:
            BreastkitError: if an attribute is unknown or not in the index. To leave a filter out instead would show
                patients nobody asked for.
        """
        filters = []
        for name, value in wanted:
            tag, vr = attribute_named(name)
            if tag not in _SEARCHABLE and tag != _MODALITIES_IN_STUDY:
                raise BreastkitError(f"{name} cannot be searched for here; search for the patient, study or series.")
            filters.append((tag, vr, value))
        return cls(tuple(filters), **options)


def search(
    index: FolderIndex,
    level: Level,
    query: Query,
    *,
    study: str | None = None,
    series: str | None = None,
    url_of: Callable[[Sequence[str]], str],
) -> list[dict[str, Any]]:
    """Returns the results as DICOM JSON: studies, the latest first, series and instances by their numbers.

    Args:
        index: what to search.
        level: what to search for.
        query: what must match, and which page of the results.
        study: only in this study.
        series: only in this series.
        url_of: gives the address of a study, series or instance by its identifiers.
    """
    everything = list(index)
    modalities = _modalities(everything)
    found: dict[tuple[str, ...], list[Instance]] = defaultdict(list)
    for one in everything:
        if study in (None, one.study) and series in (None, one.series) and _matches(one, query, modalities):
            found[level.key(one)].append(one)
    results = sorted(found.items(), key=lambda item: _order(level, item[1]))
    if level is Level.STUDIES:
        results.sort(key=lambda item: _value(item[1][0], "StudyDate"), reverse=True)
    page = results[query.offset : None if query.limit is None else query.offset + query.limit]
    sizes = _Sizes(everything)
    return [
        {
            **_told(level, members[0]),
            **sizes.of(level, members[0], modalities),
            tag_of("RetrieveURL"): {"vr": "UR", "Value": [url_of(key)]},
            tag_of("InstanceAvailability"): {"vr": "CS", "Value": ["ONLINE"]},
        }
        for key, members in page
    ]


def _matches(instance: Instance, query: Query, modalities: dict[str, list[str]]) -> bool:
    for tag, vr, wanted in query.filters:
        if tag == _MODALITIES_IN_STUDY:
            # A list is asked for with backslashes or commas.
            values = {"00000000": {"Value": modalities[instance.study]}}
            if not any(matches(values, "00000000", vr, one) for one in wanted.replace(",", "\\").split("\\")):
                return False
        elif not matches(instance.attributes, tag, vr, wanted, fuzzy=query.fuzzy):
            return False
    return True


def _modalities(instances: Iterable[Instance]) -> dict[str, list[str]]:
    found = defaultdict(set)
    for one in instances:
        found[one.study].add(_value(one, "Modality"))
    return {study: sorted(values - {""}) for study, values in found.items()}


def _value(instance: Instance, keyword: str) -> str:
    values = instance.attributes.get(tag_of(keyword), {}).get("Value") or [""]
    return str(values[0])


def _number(instance: Instance, keyword: str) -> float:
    try:
        return float(_value(instance, keyword))
    except ValueError:
        return float("inf")


def _order(level: Level, members: list[Instance]) -> tuple[str | float, ...]:
    members.sort(key=lambda one: (_number(one, "InstanceNumber"), one.uid))
    first = members[0]
    if level is Level.STUDIES:
        return (first.study,)
    series = (first.study, _number(first, "SeriesNumber"), first.series)
    return series if level is Level.SERIES else (*series, _number(first, "InstanceNumber"), first.uid)


def _told(level: Level, instance: Instance) -> dict[str, Any]:
    tags = (tag_of(name) for name in level.attributes)
    # Text goes out as UTF-8, whatever the file holds.
    encoding = {tag_of("SpecificCharacterSet"): {"vr": "CS", "Value": ["ISO_IR 192"]}}
    return {**encoding, **{tag: instance.attributes[tag] for tag in tags if tag in instance.attributes}}


class _Sizes:
    """How many series and instances the studies and series hold, whether or not they were asked for."""

    def __init__(self, instances: list[Instance]) -> None:
        self.series: dict[str, set[str]] = defaultdict(set)
        self.instances: dict[tuple[str, ...], int] = defaultdict(int)
        for one in instances:
            self.series[one.study].add(one.series)
            self.instances[(one.study,)] += 1
            self.instances[(one.study, one.series)] += 1

    def of(self, level: Level, one: Instance, modalities: dict[str, list[str]]) -> dict[str, Any]:
        """Returns the counts that belong to a result."""
        if level is Level.INSTANCES:
            return {}
        counts = {
            tag_of("NumberOfStudyRelatedSeries"): {"vr": "IS", "Value": [len(self.series[one.study])]},
            tag_of("NumberOfStudyRelatedInstances"): {"vr": "IS", "Value": [self.instances[(one.study,)]]},
            _MODALITIES_IN_STUDY: {"vr": "CS", "Value": modalities[one.study]},
        }
        if level is Level.SERIES:
            count = self.instances[(one.study, one.series)]
            counts[tag_of("NumberOfSeriesRelatedInstances")] = {"vr": "IS", "Value": [count]}
        return counts
