"""Where a source's extract is: what its connector pulled, the directory or bucket that is set, or the demo company."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from orchestration.errors import UsageError
from orchestration.ingest.buckets import facts_below, is_bucket, mirror, names_below
from orchestration.ingest.contract import Source, load_source
from orchestration.ingest.files import is_near, names_in
from orchestration.ingest.syncing import NEEDED, is_configured, sync
from orchestration.settings import Settings


def extract_directory(settings: Settings, source: str) -> Path:
    """The extract directory of a source; a connector fills it first, or the demo company when nothing is set.

    Raises:
        UsageError: a source other than `extract`, or one of several, without a directory, or a connector without its
            settings.
        SourceError: the system a connector reads failed.
    """
    declared = load_source(source)
    directory = settings.directory_of(source)
    if is_configured(settings, declared) and source not in settings.extract_dirs:
        return sync(settings, source)
    if directory:
        return _within_reach(settings, declared, directory)
    if declared.connector:
        needed = ", ".join(f"SIGHTLINE_{name.upper()}" for name in NEEDED[declared.connector])
        raise UsageError(
            f"The source {source} needs {needed}, or the directory of its own export: --extract {source}=DIR."
        )
    if len(settings.sources) > 1:
        raise UsageError(
            f"The source {source} needs its directory beside the others: give --extract {source}=DIR "
            "or set SIGHTLINE_EXTRACT_DIRS."
        )
    if source != "extract":
        raise UsageError(f"The source {source} needs its directory: give --extract DIR or set SIGHTLINE_EXTRACT_DIR.")
    if not (settings.demo_extract / "extract.json").exists():
        from orchestration.demo.company import write_demo

        write_demo(settings.demo_extract)
    return settings.demo_extract


def can_be_watched(directory: Path) -> bool:
    return is_bucket(directory) or directory.is_dir()


def extract_names(directory: Path, source: Source) -> list[str]:
    """The files of an extract directory or bucket that stand where files of the source do; reads none.

    Raises:
        UsageError: it is not there.
        SourceError: the bucket cannot be read.
    """
    if is_bucket(directory):
        return names_below(directory, partial(is_near, source))
    if directory.is_file():
        raise UsageError(f"{directory} is a file; give the folder that has crm/ in it, not one of its files.")
    if not directory.is_dir():
        raise UsageError(f"{directory} is not there; set SIGHTLINE_EXTRACT_DIR to the folder of your extract.")
    return names_in(directory, source)


def extract_fingerprint(*directories: Path) -> str:
    """Changes whenever a file of the directories or buckets is written, added or removed; reads no file."""
    digest = hashlib.sha256()
    for directory in directories:
        for facts in facts_below(directory) if is_bucket(directory) else _facts_below(directory):
            digest.update(f"{facts}\n".encode())
    return digest.hexdigest()[:32]


def _facts_below(directory: Path) -> Iterator[str]:
    for path in sorted(path for path in directory.rglob("*") if path.is_file()):
        facts = path.stat()
        yield f"{path.relative_to(directory)}|{facts.st_size}|{facts.st_mtime_ns}"


def _within_reach(settings: Settings, source: Source, directory: Path) -> Path:
    """The directory itself, or the copy of what is in the bucket."""
    if not is_bucket(directory):
        return directory
    return mirror(directory, settings.mirror / source.name, partial(is_near, source))
