"""Moves an MLflow store from a SQLite file into an empty database of another kind.

    python mlflow/move_store.py sqlite:///runs/mlruns.db postgresql+psycopg2://USER:PASSWORD@HOST/mlflow \\
        --artifacts runs/mlruns mlflow-artifacts:/moved

Both have to have the tables of the same version of MLflow: run `mlflow db upgrade URI` on both first. All or nothing is
written. Files are not copied; with `--artifacts` the places of those that were below one address are said to be below
another.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from sqlalchemy import MetaData, Table, create_engine, func, insert, inspect, select, text

_ROWS = 1000
# Where the address of a file may stand.
_PLACES = {"artifact_location", "artifact_uri", "source", "storage_location"}
_VERSION = "alembic_version"


def move(source: str, target: str, artifacts: tuple[str, str] | None) -> int:
    """Copies every row of every table, and returns how many there were."""
    old, new = create_engine(source), create_engine(target)
    tables = MetaData()
    tables.reflect(bind=new)
    if _version(old) is None or _version(old) != _version(new):
        sys.exit(f"{source} and {new.url} are not of one version of MLflow; run `mlflow db upgrade` on both first.")
    copied = 0
    with old.connect() as reading, new.begin() as writing:
        if writing.scalar(select(func.count()).select_from(tables.tables["runs"])):
            sys.exit(f"{new.url} has runs already; give a database that is empty.")
        kept = [table for table in tables.sorted_tables if table.name != _VERSION]
        # What MLflow puts into a new store, such as the experiment Default, is in the old one too.
        for table in reversed(kept):
            writing.execute(table.delete())
        for table in kept:
            # Read by the types of the new one: SQLite has no booleans.
            rows = reading.execute(select(table)).mappings()
            while part := rows.fetchmany(_ROWS):
                writing.execute(insert(table), [_moved(dict(row), artifacts) for row in part])
                copied += len(part)
            if new.dialect.name == "postgresql":
                _go_on_counting(writing, table)
    return copied


def _moved(row: dict[str, Any], artifacts: tuple[str, str] | None) -> dict[str, Any]:
    if artifacts is None:
        return row
    before, after = artifacts
    return {
        name: after + value.removeprefix(before)
        if name in _PLACES and isinstance(value, str) and value.startswith(before)
        else value
        for name, value in row.items()
    }


def _go_on_counting(connection: Any, table: Table) -> None:
    """Lets a column that counts by itself go on after the highest number copied."""
    for column in table.primary_key.columns:
        named = {"table": f'"{table.name}"', "column": column.name}
        sequence = connection.scalar(text("SELECT pg_get_serial_sequence(:table, :column)"), named)
        highest = connection.scalar(select(func.max(column))) if sequence else None
        if highest is not None:
            connection.execute(text("SELECT setval(:sequence, :highest)"), {"sequence": sequence, "highest": highest})


def _version(engine: Any) -> Any:
    if not inspect(engine).has_table(_VERSION):
        return None
    with engine.connect() as connection:
        return connection.scalar(text(f"SELECT version_num FROM {_VERSION}"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="what is moved, sqlite:///FILE")
    parser.add_argument("target", help="where to, postgresql+psycopg2://…")
    parser.add_argument("--artifacts", nargs=2, metavar=("BEFORE", "AFTER"), help="where files were and are")
    given = parser.parse_args()
    pair = given.artifacts and (str(Path(given.artifacts[0]).absolute()), given.artifacts[1])
    print(f"{move(given.source, given.target, pair)} rows were copied.")  # noqa: T201
