"""What `lumendrop enhance` will do with each photo: nothing, fetch, wait, or upload.

Everything is read from the files, the ledger, and the buckets. There is no state of its own, so a run that was killed
continues like any other.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from lumendrop_cli import ledger, photo_files, photo_options, statuses, transfers
from lumendrop_cli.batches import batches
from lumendrop_cli.ledger import Row
from lumendrop_cli.photo_files import LocalFile, Skipped
from lumendrop_cli.printer import Progress
from lumendrop_cli.result_folder import ResultFolder, signature
from lumendrop_cli.stack import Stack
from lumendrop_cli.text import count
from lumendrop_cli.transfers import Result, Source

THREADS = 16
_FILES_PER_UPDATE = 100
_MOST_LISTED = 20_000  # keys per folder of the bucket; behind them, each photo's key is read on its own

T = TypeVar("T")
R = TypeVar("R")

_batches = partial(batches, size=ledger.BATCH_SIZE)


@dataclass
class Photo:
    """A photo on its way. `row` is the ledger's row of its upload, or of another upload of the same photo.

    `upload` is the key and the version of that row. `etag` is that of the object that the photo's upload replaces.
    """

    source: Source
    longer_side: int | None = None
    upload: tuple[str, str] | None = None
    row: Row | None = None
    etag: str | None = None
    result: Result | None = None
    path: Path | None = None
    is_new_path: bool = False
    was_uploaded: bool = False
    state: str = "planned"
    sent: int = 0
    error: str = ""

    @property
    def name(self) -> str:
        return self.source.file.name

    @property
    def is_own(self) -> bool:
        """Whether the row is that of an upload of this photo's own key."""
        return self.upload is not None and self.upload[0] == self.source.key


@dataclass
class Plan:
    """The photos by what happens to them, and what is skipped.

    `taken` is the number of photos that are not done, and whose name a file in the folder for results has.
    """

    photos: list[Photo] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    taken: int = 0

    def in_state(self, state: str) -> list[Photo]:
        return [photo for photo in self.photos if photo.state == state]

    @property
    def tasks(self) -> int:
        """The number of different photos that are uploaded. The same photo is paid for once."""
        return len({photo.source.sha256 for photo in self.in_state("upload")})


@dataclass(frozen=True)
class Request:
    """What a user asks for: where photos go, and their options, as metadata and as the ledger's text."""

    prefix: str
    metadata: dict[str, str]
    options: str


def parallel(run: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """The results in the order of the items."""
    with ThreadPoolExecutor(THREADS) as workers:
        yield from workers.map(run, items)


def make_plan(
    stack: Stack, found: Iterable[LocalFile | Skipped], request: Request, folder: ResultFolder, progress: Progress
) -> Plan:
    """Decides what happens to each photo. `state` is then `done`, `fetch`, `wait`, `upload`, or `failed`."""
    plan = Plan()
    files = []
    for one in found:
        if isinstance(one, Skipped):
            plan.skipped.append(one)
        elif reason := photo_files.check_name(one.path.name, request.prefix + one.name) or folder.problem(one.name):
            plan.skipped.append(Skipped(one.name, reason))
        else:
            files.append(one)
    most_bytes = stack.whole_number("MaxUploadBytes")
    inspected = parallel(lambda file: photo_files.inspect(file, most_bytes), files)
    for number, (file, answer) in enumerate(zip(files, inspected, strict=True), 1):
        if number % _FILES_PER_UPDATE == 0:
            progress(f"{number:,} of {len(files):,} files read …")
        if isinstance(answer, str):
            plan.skipped.append(Skipped(file.name, answer))
            continue
        header, sha256 = answer
        key = request.prefix + file.name
        source = Source(file, key, sha256, header.content_type, request.metadata, request.options)
        plan.photos.append(Photo(source, header.longer_side))
    for photo in plan.photos:
        next(folder.names(photo.name, photo.name))  # before a result of another photo gets it
    decide(stack, plan.photos, folder, progress)
    plan.taken = sum(_is_taken(photo, folder) for photo in plan.photos if photo.state in ("upload", "wait", "fetch"))
    return plan


def _is_taken(photo: Photo, folder: ResultFolder) -> bool:
    return any(signature(folder.path_of(name)) for name in transfers.usual_names(photo.name))


def decide(stack: Stack, photos: Sequence[Photo], folder: ResultFolder, progress: Progress) -> None:
    """Sets the state of each photo."""
    progress(f"Looking up {count(len(photos), 'photo')} in the ledger …")
    _find_same_photos(stack, photos)
    undecided = [photo for photo in photos if photo.state == "planned"]
    progress(f"Looking up {count(len(undecided), 'photo')} in the input bucket …")
    _find_own_uploads(stack, undecided)
    fetched = [photo for photo in photos if photo.state == "fetch"]
    progress(f"Comparing {count(len(fetched), 'result')} with the files of earlier runs …")
    for photo, path in zip(fetched, parallel(lambda photo: _downloaded(stack, photo, folder), fetched), strict=True):
        photo.path, photo.state = path, "done" if path else "fetch"


def _downloaded(stack: Stack, photo: Photo, folder: ResultFolder) -> Path | None:
    """The file of an earlier run that is the photo's result."""
    if photo.result is None:
        return None
    with suppress(OSError):  # the download reports it
        name, is_there = transfers.find_name(stack, photo.source, photo.result, folder)
        return folder.root / name if is_there else None
    return None


def _find_same_photos(stack: Stack, photos: Sequence[Photo]) -> None:
    """Finds photos that an upload of any key has paid for, by their bytes and options, as submit does."""
    keys = {id(photo): _photo_key(stack, photo.source) for photo in photos}
    wanted = sorted(set(keys.values()))
    holders: dict[str, tuple[str, str]] = {}
    for items in parallel(lambda batch: ledger.holders(stack, batch), _batches(wanted)):
        holders |= items
    rows: dict[tuple[str, str], Row] = {}
    for found in parallel(lambda batch: ledger.rows_at(stack, batch), _batches(sorted(set(holders.values())))):
        rows |= found
    held = [(photo, rows.get(holders[keys[id(photo)]])) for photo in photos if keys[id(photo)] in holders]
    existing = _existing_results(stack, [row for _, row in held if row and row["status"] == statuses.ENHANCED])
    for photo, row in held:
        _take_row(photo, row, existing)


def _take_row(photo: Photo, row: Row | None, existing: set[Result]) -> None:
    """Decides from the row of an upload of the same photo. Leaves the photo as it is if that helps nothing."""
    if row is None:
        return
    if row["status"] == statuses.ENHANCED:
        result = transfers.result_of(row)
        if result in existing:
            photo.row, photo.result, photo.state = row, result, "fetch"
            photo.upload = (row["key"], row["version_id"])
    elif not ledger.is_finished(row) and row["status"] in statuses.IN_PROGRESS:
        photo.row, photo.state, photo.upload = row, "wait", (row["key"], row["version_id"])


def _existing_results(stack: Stack, rows: Sequence[Row]) -> set[Result]:
    """The results that still exist. One list of a folder's keys finds most of them."""
    results = [result for result in map(transfers.result_of, rows) if result]
    found: set[Result] = set()
    for bucket in {result.bucket for result in results}:
        own = [result for result in results if result.bucket == bucket]
        listed = _list_keys(stack, bucket, [result.key for result in own])
        same = [result for result in own if listed.get(result.key, (0, ""))[0] == result.size]
        others = [result for result in own if result not in set(same)]
        there = parallel(lambda result: transfers.exists(stack, result), others)
        found |= {*same, *(result for result, exists in zip(others, there, strict=True) if exists)}
    return found


def _photo_key(stack: Stack, source: Source) -> str:
    return photo_key(stack, source.file.size, source.sha256, source.options)


def photo_key(stack: Stack, size: int, sha256: str, options: str) -> str:
    """The key of the ledger's item that names the upload that pays for a photo. layers/lumendrop has the same rule."""
    text = "\0".join([f"{size} {sha256}", options])
    return f"photo#{stack.output('InputBucketName')}#{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def _find_own_uploads(stack: Stack, photos: Sequence[Photo]) -> None:
    """Finds photos that their key already has. The others are uploaded."""
    listed = _list_keys(stack, stack.output("InputBucketName"), [photo.source.key for photo in photos])
    for photo in photos:
        photo.state = "upload"
    known = [photo for photo in photos if photo.source.key in listed]
    for photo in known:
        photo.etag = listed[photo.source.key][1]
    candidates = [photo for photo in known if listed[photo.source.key][0] in (None, photo.source.file.size)]
    found = parallel(lambda photo: transfers.find_uploaded(stack, photo.source), candidates)
    for photo, (version_id, etag) in zip(candidates, found, strict=True):
        photo.etag = etag
        if version_id is not None:
            photo.upload, photo.state = (photo.source.key, version_id), "wait"
    waiting = [photo for photo in candidates if photo.state == "wait"]
    uploads = [photo.upload for photo in waiting if photo.upload]
    rows: dict[tuple[str, str], Row] = {}
    for answer in parallel(lambda batch: ledger.batch_get(stack, batch, whole=True), _batches(uploads)):
        rows |= answer
    for photo in waiting:
        take_own_row(photo, rows.get(photo.upload or ("", "")))


def take_own_row(photo: Photo, row: Row | None) -> None:
    """Decides from the row of the photo's upload: wait, fetch the result, or report why there is none."""
    photo.row = row
    if row is None:
        return
    if row["status"] == statuses.ENHANCED and row.get("output"):
        photo.result, photo.state = transfers.result_of(row), "fetch"
    elif ledger.is_finished(row):
        photo.state = "failed"
        photo.error = ledger.reason(row) or f"The upload is {row['status']}."


def _list_keys(stack: Stack, bucket: str, keys: Sequence[str]) -> dict[str, tuple[int | None, str | None]]:
    """The size and the ETag of each key that a bucket has. None for both if the key was not listed."""
    folders: dict[str, list[str]] = defaultdict(list)
    for key in keys:
        folders[key.rpartition("/")[0]].append(key)
    found: dict[str, tuple[int | None, str | None]] = {}
    for one in parallel(lambda one: _list_folder(stack, bucket, one), folders.values()):
        found |= one
    return found


def _list_folder(stack: Stack, bucket: str, keys: list[str]) -> dict[str, tuple[int | None, str | None]]:
    wanted, last = set(keys), max(keys)
    folder = last.rpartition("/")[0]
    pages = (
        stack.client("s3")
        .get_paginator("list_objects_v2")
        .paginate(
            Bucket=bucket,
            Prefix=f"{folder}/" if folder else "",
            Delimiter="/",
            PaginationConfig={"MaxItems": _MOST_LISTED},
        )
    )
    found: dict[str, tuple[int | None, str | None]] = {}
    reached = ""
    for page in pages:
        for one in page.get("Contents", []):
            reached = one["Key"]
            if reached in wanted:
                found[reached] = one["Size"], one["ETag"]
        is_complete = not page.get("IsTruncated") or reached > last
        if is_complete:
            return found
    return found | {key: (None, None) for key in wanted if key > reached}


def figures(plan: Plan, request: Request) -> dict[str, Any]:
    """The plan in figures."""
    reasons: dict[str, int] = defaultdict(int)
    for one in plan.skipped:
        reasons[one.reason] += 1
    side = photo_options.RESOLUTIONS[photo_options.resolution(request.options)]
    uploads = plan.in_state("upload")
    return {
        "photos": len(plan.photos),
        "bytes": sum(photo.source.file.size for photo in plan.photos),
        "upload": len(uploads),
        "upload_bytes": sum(photo.source.file.size for photo in uploads),
        "in_progress": len(plan.in_state("wait")),
        "fetch": len(plan.in_state("fetch")),
        "done": len(plan.in_state("done")),
        "failed": len(plan.in_state("failed")),
        "names_taken": plan.taken,
        "larger_than_result": sum((photo.longer_side or 0) > side for photo in uploads),
        "skipped": len(plan.skipped),
        "skipped_reasons": dict(reasons),
        "tasks": plan.tasks,
    }
