"""An extract in a bucket of S3, or of what speaks like it: mirrored into the home, and then read like a directory.

Access is what the AWS_… variables say. An object is fetched when its ETag is another than that of the copy; the mirror
is landed only when all of it is there and nothing of it changed meanwhile.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from orchestration.errors import SourceError, UsageError

if TYPE_CHECKING:
    from pyarrow.fs import S3FileSystem

PIECE_BYTES = 8 << 20
CONNECT_SECONDS = 10
REQUEST_SECONDS = 60


def is_bucket(directory: Path) -> bool:
    """Whether an extract directory is an address `s3://bucket/prefix`, which as a path has one slash less."""
    return directory.parts[:1] == ("s3:",)


def address_of(directory: Path) -> str:
    """As a person writes it."""
    return f"s3://{'/'.join(directory.parts[1:])}" if is_bucket(directory) else str(directory)


def mirror(directory: Path, folder: Path, is_wanted: Callable[[str], bool]) -> Path:
    """Brings a folder to what the bucket holds below the prefix.

    Args:
        is_wanted: says of a name within the prefix whether it is fetched.

    Raises:
        UsageError: there is no such bucket or prefix, or the extra is missing.
        SourceError: it cannot be read, or changed meanwhile; what was fetched whole is kept.
    """
    bucket = _Bucket(directory)
    notes = folder / ".mirror.json"
    held: dict[str, str] = {}
    if notes.exists():
        kept = json.loads(notes.read_text(encoding="utf-8"))
        held = kept["objects"] if kept["address"] == bucket.address else {}
    if not held:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)

    def remember() -> None:
        staged = folder / ".mirror.part"
        staged.write_text(json.dumps({"address": bucket.address, "objects": held}), encoding="utf-8")
        os.replace(staged, notes)

    listed = bucket.objects(is_wanted)
    for name in sorted(set(held) - set(listed)):
        (folder / name).unlink(missing_ok=True)
        del held[name]
    remember()
    for name in listed:
        target = folder / name
        stamp = bucket.stamp(name)
        if held.get(name) == stamp and target.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        staged = target.with_name(f".{target.name}.part")
        bucket.fetch(name, staged)
        if bucket.stamp(name) != stamp:
            raise bucket.changed(name)
        os.replace(staged, target)
        held[name] = stamp
        remember()
    now = bucket.objects(is_wanted)
    for name in sorted(set(listed) | set(now)):
        if listed.get(name) != now.get(name):
            raise bucket.changed(name)
    return folder


def names_below(directory: Path, is_wanted: Callable[[str], bool]) -> list[str]:
    """The names of the objects below the prefix.

    Raises:
        UsageError, SourceError: as `mirror` does.
    """
    return list(_Bucket(directory).objects(is_wanted))


def facts_below(directory: Path) -> Iterator[str]:
    """Name, size and time of every object below the prefix; fetches none."""
    return (f"{name}|{facts}" for name, facts in _Bucket(directory).objects(lambda name: True).items())


class _Bucket:
    """What is below one prefix of one bucket. Whatever fails ends as one sentence."""

    def __init__(self, directory: Path) -> None:
        self.address = address_of(directory)
        self.root = "/".join(directory.parts[1:])
        if not self.root:
            raise UsageError("s3:// names no bucket; write SIGHTLINE_EXTRACT_DIR as s3://bucket/prefix.")
        self.files = _connect(self.address, directory.parts[1])

    def objects(self, is_wanted: Callable[[str], bool]) -> dict[str, str]:
        """Name within the prefix of each object that is wanted, and its size and time."""
        from pyarrow.fs import FileSelector, FileType

        with self._told():
            found = self.files.get_file_info(FileSelector(self.root, recursive=True))
        names = {str(PurePosixPath(info.path).relative_to(self.root)): info for info in found}
        return {
            name: f"{info.size}|{info.mtime_ns}"
            for name, info in sorted(names.items())
            # A key may hold `..`; no object is worth a file outside the mirror.
            if info.type == FileType.File and ".." not in PurePosixPath(name).parts and is_wanted(name)
        }

    def stamp(self, name: str) -> str:
        """What is another one whenever the content is."""
        with self._told(name), self.files.open_input_file(f"{self.root}/{name}") as file:
            facts = file.metadata()
        return "|".join(facts.get(key, b"").decode() for key in ("ETag", "Content-Length", "Last-Modified"))

    def fetch(self, name: str, target: Path) -> None:
        with self._told(name), self.files.open_input_file(f"{self.root}/{name}") as source, target.open("wb") as file:
            while piece := source.read(PIECE_BYTES):
                file.write(piece)
            if file.tell() != source.size():
                raise self.changed(name)

    def changed(self, name: str) -> SourceError:
        return SourceError(
            f"{self.address}/{name} changed while the extract was fetched; run again when the export is finished."
        )

    @contextmanager
    def _told(self, name: str | None = None) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            if name:  # It was listed a moment ago.
                raise self.changed(name) from None
            raise UsageError(f"There is nothing in {self.address}; correct SIGHTLINE_EXTRACT_DIR.") from None
        except OSError as error:
            raise _sentence(self.address, error) from None


def _connect(address: str, bucket: str) -> S3FileSystem:
    try:
        from pyarrow.fs import S3FileSystem, resolve_s3_region
    except ImportError:
        raise UsageError(
            f"{address} needs the extra for S3 (pyarrow is not installed): pip install -e '.[s3]' -c requirements.lock."
        ) from None
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    try:
        if not region:
            # A store of one's own has no regions, but wants one named.
            region = "us-east-1" if endpoint else resolve_s3_region(bucket)
        return S3FileSystem(
            endpoint_override=endpoint,
            region=region,
            connect_timeout=CONNECT_SECONDS,
            request_timeout=REQUEST_SECONDS,
        )
    except OSError as error:
        raise _sentence(address, error) from None


def _sentence(address: str, error: OSError) -> UsageError | SourceError:
    text = " ".join(str(error).split())
    told = re.search(r"AWS Error (\w+) during \w+ operation: (.*?)(?: \(Request ID.*)?$", text)
    code, words = (told[1], told[2]) if told else ("", text)
    if code == "NO_SUCH_BUCKET" or "Bucket '" in text and "not found" in text:
        return UsageError(f"There is no bucket of {address}; correct SIGHTLINE_EXTRACT_DIR.")
    if code in ("ACCESS_DENIED", "INVALID_ACCESS_KEY_ID", "INVALID_CLIENT_TOKEN_ID", "SIGNATURE_DOES_NOT_MATCH"):
        return SourceError(
            f"{address} may not be read ({code.lower().replace('_', ' ')}); give AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY of somebody who is allowed s3:ListBucket and s3:GetObject there."
        )
    return SourceError(
        f"{address} cannot be read ({words.rstrip('.')}); run again, or correct AWS_ENDPOINT_URL and AWS_REGION."
    )
