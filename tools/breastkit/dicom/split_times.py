"""Series that hold a volume several times over, as fast dynamic scans come, taken apart into one series a time."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from pydicom.dataset import Dataset

from breastkit.dicom.read_series import Series, _read
from breastkit.errors import BreastkitError

# What tells the times of a series apart, the surest first.
_MARKS = ("TemporalPositionIdentifier", "AcquisitionNumber", "AcquisitionTime", "TriggerTime", "ContentTime")
_CLOCKS = ("AcquisitionTime", "ContentTime")
_DAY = 24 * 60 * 60.0


def split_times(series: Series) -> tuple[tuple[Series, ...], tuple[str, ...]]:
    """Takes a series apart into the volumes it holds.

    Args:
        series: one file an image; multi-frame objects stay as they are.

    Returns:
        The volumes in time, described as ``… time 1`` and so on, or the series alone where it holds one volume; and
        sentences on what was left out: volumes with fewer images than the others, as a scan that was stopped leaves.

    Raises:
        BreastkitError: if images lie in the same place and nothing in their headers tells them apart.
    """
    headers = [_read(path, specific_tags=["ImagePositionPatient", "InstanceNumber", *_MARKS]) for path in series.files]
    places = [tuple(round(float(v), 2) for v in header.get("ImagePositionPatient") or ()) for header in headers]
    if len(series.files) != series.images or not all(places) or len(set(places)) == len(places):
        return (series,), ()
    for mark in _MARKS:
        groups: dict[str, list[int]] = defaultdict(list)
        for number, header in enumerate(headers):
            groups[str(header.get(mark))].append(number)
        if len(groups) > 1 and all(len({places[n] for n in group}) == len(group) for group in groups.values()):
            return _parts(series, headers, list(groups.values()))
    raise BreastkitError(
        f"{series.files[0].parent} holds several images of the same slice that no header tells apart; "
        "it has doubled files, or give each phase its own folder."
    )


def _parts(
    series: Series, headers: list[Dataset], groups: list[list[int]]
) -> tuple[tuple[Series, ...], tuple[str, ...]]:
    most = max(map(len, groups))
    whole = [group for group in groups if len(group) == most]
    begins = _begins([[headers[number] for number in group] for group in whole])
    order = sorted(
        range(len(whole)), key=lambda k: (begins[k], min(int(headers[n].get("InstanceNumber") or 0) for n in whole[k]))
    )
    parts = tuple(
        replace(
            series,
            files=tuple(series.files[number] for number in whole[k]),
            description=f"{series.description} time {time}".strip(),
            images=most,
            time=_clock(begins[k]),
        )
        for time, k in enumerate(order, start=1)
    )
    left = len(groups) - len(whole)
    words = f"{left} of {len(groups)} volumes of {series} have fewer than {most} images and are left out."
    return parts, (words,) if left else ()


def _begins(groups: list[list[Dataset]]) -> list[float]:
    """Returns when each volume began, in seconds of the day, by the first clock that tells them apart."""
    for clock in _CLOCKS:
        begins = [begin for group in groups if (begin := _begin(group, clock)) is not None]
        if len(set(begins)) == len(groups):
            return begins
    triggers = [min(float(header.get("TriggerTime") or 0) for header in group) / 1000 for group in groups]
    begin = _seconds(str(groups[0][0].get("AcquisitionTime") or "")) or 0.0
    return [begin + after for after in triggers]


def _begin(group: list[Dataset], clock: str) -> float | None:
    """Returns the earliest time of a volume; None where an image lacks it."""
    times = [_seconds(str(header.get(clock) or "")) for header in group]
    known = [time for time in times if time is not None]
    return min(known) if len(known) == len(times) else None


def _seconds(text: str) -> float | None:
    """Returns a DICOM time (HHMMSS.ffffff) in seconds."""
    try:
        return int(text[:2]) * 3600 + int(text[2:4] or 0) * 60 + float(text[4:] or 0)
    except ValueError:
        return None


def _clock(seconds: float) -> str:
    seconds %= _DAY
    return f"{int(seconds // 3600):02d}{int(seconds % 3600 // 60):02d}{seconds % 60:09.6f}"


def seconds_between(earlier: Series, later: Series) -> float | None:
    """Returns how long after one series another began; None where a header does not tell."""
    first, second = _seconds(earlier.time), _seconds(later.time)
    return None if first is None or second is None else (second - first) % _DAY
