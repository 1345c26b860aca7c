"""Where a source's extract is: what its connector pulled, the directory that is set, or the demo company."""

from __future__ import annotations

import hashlib
from pathlib import Path

from orchestration.errors import UsageError
from orchestration.ingest.contract import load_source
from orchestration.ingest.syncing import NEEDED, is_configured, sync
from orchestration.settings import Settings


def extract_directory(settings: Settings, source: str) -> Path:
    """The extract directory of a source; a connector fills it first, or the demo company when nothing is set.

    Raises:
        UsageError: a source other than `extract` without a directory, or a connector without its settings.
        SourceError: the system a connector reads failed.
    """
    declared = load_source(source)
    if is_configured(settings, declared):
        return sync(settings, source)
    if settings.extract_dir:
        return settings.extract_dir
    if declared.connector:
        needed = ", ".join(f"SIGHTLINE_{name.upper()}" for name in NEEDED[declared.connector])
        raise UsageError(f"The source {source} needs {needed}, or the directory of its own export: --extract DIR.")
    if source != "extract":
        raise UsageError(f"The source {source} needs its directory: give --extract DIR or set SIGHTLINE_EXTRACT_DIR.")
    if not (settings.demo_extract / "extract.json").exists():
        from orchestration.demo.company import write_demo

        write_demo(settings.demo_extract)
    return settings.demo_extract


def extract_fingerprint(directory: Path) -> str:
    """Changes whenever a file of the directory is written, added or removed; reads no file."""
    digest = hashlib.sha256()
    for path in sorted(path for path in directory.rglob("*") if path.is_file()):
        facts = path.stat()
        digest.update(f"{path.relative_to(directory)}|{facts.st_size}|{facts.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:32]
