"""Which files of an extract are which entity: the one rule that landing, doctor and buckets go by.

An entity `crm/activities` is one file `crm/activities.csv`, `.csv.gz` or `.parquet`, or any number of such files in a
folder of its name, `crm/activities/2026-01.csv`, which together are one table.
"""

from __future__ import annotations

import difflib
import gzip
import re
import shutil
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from orchestration.errors import SourceError
from orchestration.ingest.contract import Source, Table

SUFFIXES = (".csv", ".csv.gz", ".parquet")
# What a table also comes as, and is not read from.
OTHER_SUFFIXES = (".xlsx", ".xls", ".ods", ".tsv", ".txt", ".json", ".zip")
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


def strangers(source: Source, names: Sequence[str]) -> dict[str, str]:
    """Files beside the contract's that look as if they were meant to be read, and the entity that is meant, or nothing.

    Only an entity that is not there can be meant.
    """
    found = {table.file: files_of(table, names) for table in source.tables}
    expected = {HEADER, *(name for files in found.values() for name in files)}
    others = sorted(name for name in names if name not in expected and not PurePosixPath(name).name.startswith("."))
    meant = {name: _meant(name, found) for name in others if name.lower().endswith((*SUFFIXES, *OTHER_SUFFIXES))}
    return {name: file for name, file in meant.items() if file or name.lower().endswith(SUFFIXES)}


def stranger_note(name: str, meant: str) -> str:
    """What is said of a file that is none of the source, and of the one it looks like."""
    told = f"{name} is no file of this source and was not read"
    if not meant:
        return told
    what_to_do = "give it that name" if name.lower().endswith(SUFFIXES) else "export it as that"
    return f"{told}; it looks like {meant}: {what_to_do}"


def _meant(name: str, found: dict[str, list[str]]) -> str:
    path = PurePosixPath(name)
    beside = {PurePosixPath(file).name: file for file in found if PurePosixPath(file).parent == path.parent}
    near = beside.get(nearest(path.name.split(".")[0], list(beside), 0.75), "")
    if not near or found[near]:
        return ""
    # The end says how it is to be read.
    return near + next((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), ".csv")


def nearest(name: str, names: Sequence[str], least: float) -> str:
    """The one of the names that is the same but for case and white space, or for a letter or two; empty when none is.

    Args:
        least: share of letters that must be the same (difflib's ratio).
    """
    plain = {_plain(one): one for one in names}
    found = difflib.get_close_matches(_plain(name), plain, 1, least)
    return plain[found[0]] if found else ""


def _plain(name: str) -> str:
    return re.sub(r"[\s-]+", "_", name.strip().lower())


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
