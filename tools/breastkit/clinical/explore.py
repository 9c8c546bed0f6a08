"""What a clinical table holds: every category with its count and share, and what is missing or rare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from breastkit.clinical.table import Column, Kind

# A category of a smaller share of the known values is rare.
RARE = 0.05


@dataclass(frozen=True)
class Category:
    """A category of a column.

    Attributes:
        name: as the table names it.
        count: patients in it.
        share: of those whose value is known.
    """

    name: str
    count: int
    share: float

    @property
    def is_rare(self) -> bool:
        """Whether it has next to no patients."""
        return self.share < RARE


def categories(column: Column) -> list[Category]:
    """Returns the categories of a column in the order of their codes; none of a numeric one."""
    if column.kind is Kind.NUMERIC:
        return []
    counts = column.values.dropna().value_counts().sort_index()
    known = int(counts.sum())
    return [
        Category(column.names.get(float(code), f"{code:g}"), int(count), count / known)
        for code, count in counts.items()
    ]


def summary(columns: Sequence[Column]) -> pd.DataFrame:
    """Returns a row a column: ``column, kind, n, missing, categories``, of numbers their quartiles in the last."""
    rows = [
        (one.name, one.kind.value, int(one.values.notna().sum()), one.missing, _distribution(one)) for one in columns
    ]
    return pd.DataFrame(rows, columns=["column", "kind", "n", "missing", "categories"])


def _distribution(column: Column) -> str:
    known = column.values.dropna()
    if column.kind is not Kind.NUMERIC:
        return "; ".join(f"{one.name}: {one.count}" for one in categories(column))
    if known.empty:
        return ""
    low, middle, high = known.quantile([0.25, 0.5, 0.75])
    return f"median {middle:g} (quartiles {low:g} to {high:g})"


def balance(columns: Sequence[Column], groups: pd.Series[str]) -> pd.DataFrame:
    """Returns how categories are spread over groups, such as training and test.

    Args:
        columns: of the table.
        groups: by patient.

    Returns:
        A row a category (``column, category`` and the share of each group, and the p value of a chi-squared test of the
        column), for columns with categories and patients in the groups.
    """
    from scipy.stats import chi2_contingency

    rows = []
    for column in columns:
        if column.kind is Kind.NUMERIC:
            continue
        table = pd.crosstab(column.labels, groups.reindex(column.labels.index))
        if table.shape[0] < 2 or table.shape[1] < 2:
            continue
        p_value = float(chi2_contingency(table).pvalue)
        shares = table / table.sum()
        for name, row in shares.iterrows():
            rows.append(
                {"column": column.name, "category": name, **{str(k): float(v) for k, v in row.items()}, "p": p_value}
            )
    return pd.DataFrame(rows)
