"""Which files of an extract are which entity: the one rule that landing, doctor and buckets go by.

An entity `crm/activities` is one file `crm/activities.csv`, `.csv.gz` or `.parquet`, or any number of such files in a
folder of its name, `crm/activities/2026-01.csv`, which together are one table.
"""

from __future__ import annotations

import gzip
import shutil
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from orchestration.errors import SourceError
from orchestration.ingest.contract import Source, Table

SUFFIXES = (".csv", ".csv.gz", ".parquet")
HEADER = "extract.json"
# What a connector writes for the landing that follows: quick to write and to read, and as large as what it holds.
PULLED = ".arrow"


def names_in(directory: Path, source: Source) -> list[str]:
    """The files of a directory that stand where files of the source do, by their names within it."""
    beside = {(directory / table.file).parent for table in source.tables}
    found = [path for folder in beside for path in folder.glob("*")]
    found += [path for table in source.tables for path in (directory / table.file).rglob("*")]
    return sorted({path.relative_to(directory).as_posix() for path in found if path.is_file()})


def files_of(table: Table, names: Sequence[str]) -> list[str]:
    """The files of one entity, in the order of their names.

    Raises:
        SourceError: it is there more than once.
    """
    single = [name for name in names if name in {f"{table.file}{suffix}" for suffix in (*SUFFIXES, PULLED)}]
    several = sorted(name for name in names if is_data(name) and PurePosixPath(name).parent.as_posix() == table.file)
    found = [*single, *([f"{table.file}/"] if several else [])]
    if len(found) > 1:
        raise SourceError(f"{table.file} is there as {' and as '.join(found)}: remove all but one.")
    return single or several


def is_data(name: str) -> bool:
    return name.endswith(SUFFIXES) and not PurePosixPath(name).name.startswith(".")


def is_near(source: Source, name: str) -> bool:
    """Whether a file stands where files of the source do; others are none of our business."""
    beside = {PurePosixPath(table.file).parent for table in source.tables}
    below = {PurePosixPath(table.file) for table in source.tables}
    path = PurePosixPath(name)
    return name == HEADER or (is_data(name) and (path.parent in beside or not below.isdisjoint(path.parents)))


def strangers(source: Source, names: Sequence[str]) -> list[str]:
    """Files beside the contract's that look as if they were meant to be read."""
    expected = {name for table in source.tables for name in files_of(table, names)}
    return sorted(name for name in names if is_data(name) and name not in expected)


def unpack(path: Path, folder: Path) -> tuple[Path, str]:
    """Writes out what a gzip file holds; the text says why it cannot be used, empty when it can.

    Its end carries the length and a checksum of all of it, so a file that is cut off or damaged is known.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / path.name.removesuffix(".gz")
    try:
        with gzip.open(path) as packed, target.open("wb") as plain:
            shutil.copyfileobj(packed, plain, 1 << 20)
    except EOFError:
        return target, "is cut off: its end is missing"
    except (gzip.BadGzipFile, zlib.error) as error:
        return target, f"is damaged ({' '.join(str(error).split())})"
    return target, ""
