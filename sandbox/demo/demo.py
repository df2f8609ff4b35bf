"""`python -m sandbox demo`: uploads photos, follows them through the pipeline, and compares the results."""

import contextlib
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, track
from rich.table import Column, Table
from rich.text import Text

from lumendrop_cli.statuses import COLORS
from lumendrop_cli.text import clean
from sandbox.demo.images import Photo, PhotosError, UnreadableError, compare, discover, kept_metadata, load, samples
from sandbox.demo.page import PAGE, Outcome, Writer, size_text
from sandbox.demo.start import Sandbox, sandbox
from sandbox.demo.status import StatusReader, UploadStatus

POLL_SECONDS = 0.25
BASE_TIMEOUT_SECONDS, TIMEOUT_SECONDS_PER_PHOTO = 180, 60
OTHER_ROWS = 4  # rows of the terminal that the progress bars leave free

# The progress of each state in percent. `enhancing` adds its share of the task's progress.
PROGRESS = {
    "waiting": 0,
    "dropped": 2,
    "claimed": 5,
    "retrying": 5,
    "enhancing": 15,
    "reporting": 90,
}
ENHANCING_SHARE = 0.75
ENDED = 100
TIMED_OUT = "timed out"
ENDINGS = {**COLORS, TIMED_OUT: "red"}

# A file in the folder for results: what the last run wrote, one name in JSON per line.
RECORD = ".demo-files"
ANOTHER = "Choose another folder: OUT=DIR with make, otherwise --out DIR."

TRANSFER_ERRORS = (OSError, Boto3Error, BotoCoreError, ClientError)


def run(folder: Path | None, out: Path, resolution: str | None, console: Console) -> int:
    """Send the photos in `folder`, or the samples, through the sandbox, and write results and a page to `out`.

    A photo that is rejected is a result. Returns 0 if every file has one, otherwise 1. Raises `PhotosError` when a
    folder can't be used, and the errors of `start.sandbox`.
    """
    _prepare_out(out, folder)
    photos = discover(folder, leave_out=out) if folder else samples()
    _remove_earlier(out)
    console.print("Starting AWS and the enhancer on this machine ...")
    with sandbox({"Resolution": resolution or ("4K" if folder else "1K")}) as running:
        running.cloud.warm()
        console.print(f"Dropping {_count(photos)} into s3://{running.cloud.outputs['InputBucketName']}")
        with Board(console, [photo.key for photo in photos]) as board:
            outcomes = Run(running, out, board).process(photos)
    compared = track(outcomes, "Comparing before and after ...", console=console, disable=not console.is_terminal)
    outcomes, page = present(compared, out, expected=len(outcomes))
    _print_results(outcomes, page, console)
    return 0 if all(map(_has_result, outcomes)) else 1


def _has_result(outcome: Outcome) -> bool:
    return bool(outcome.result or outcome.report) or outcome.state == "superseded"


def _prepare_out(out: Path, folder: Path | None) -> None:
    if folder and folder.resolve().is_relative_to(out.resolve()):
        raise PhotosError(f"Results in {out} would mix with your photos in {folder}. {ANOTHER}")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PhotosError(f"{out} can't be a folder for results: {error.strerror}. {ANOTHER}") from error


def _remove_earlier(out: Path) -> None:
    """Remove the results of an earlier run, and nothing else that may be in the folder."""
    record = out / RECORD
    names = record.read_text(encoding="utf-8").splitlines() if record.exists() else []
    for path in (out / json.loads(name) for name in names):
        if path.resolve().is_relative_to(out.resolve()) and path.is_file():
            path.unlink()
        for folder in path.relative_to(out).parents[:-1]:
            with contextlib.suppress(OSError):  # it has other files
                (out / folder).rmdir()
    record.write_text(f'"{PAGE}"\n', encoding="utf-8")


def _count(photos: Sequence[object]) -> str:
    return f"{len(photos)} file{'' if len(photos) == 1 else 's'}"


class Board:
    """Shows a progress bar for each photo on a terminal, otherwise a line for each change of state."""

    def __init__(self, console: Console, keys: Sequence[str]) -> None:
        self._console = console
        self._width = max(len(key) for key in keys)
        # With more photos than rows, only photos in progress have a bar, and one bar counts all of them.
        self._compact = len(keys) > console.height - OTHER_ROWS
        self._progress = Progress(
            TextColumn("{task.description}", markup=False, table_column=Column(ratio=2, no_wrap=True)),
            BarColumn(bar_width=None, table_column=Column(ratio=2)),
            TextColumn("{task.fields[label]}", table_column=Column(min_width=16)),
            console=console,
            disable=not console.is_terminal,
        )
        self._all = self._progress.add_task("all", total=len(keys), label=f"0 of {len(keys)}", visible=self._compact)
        self._bars = {key: self._add(key) for key in keys}
        self._states = dict.fromkeys(keys, "waiting")

    def _add(self, key: str) -> TaskID:
        label = _coloured("waiting")
        return self._progress.add_task(clean(key), total=ENDED, label=label, visible=not self._compact)

    def __enter__(self) -> "Board":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, key: str, state: str, percent: int = 0) -> None:
        """Show the state of a photo; `percent` is the progress of its task, 0 unless `enhancing`."""
        done = ENDED if state in ENDINGS else PROGRESS.get(state, 0) + ENHANCING_SHARE * percent
        label = _coloured(state, f"{percent} %" if state == "enhancing" else "")
        visible = not self._compact or PROGRESS["dropped"] < done < ENDED
        self._progress.update(self._bars[key], completed=done, label=label, visible=visible)
        if self._states[key] != state and not self._console.is_terminal:
            _print(self._console, f"{key:<{self._width}}  {state}")
        self._states[key] = state
        ended = sum(1 for state in self._states.values() if state in ENDINGS)
        self._progress.update(self._all, completed=ended, label=f"{ended} of {len(self._states)}")


def _coloured(state: str, suffix: str = "") -> str:
    colour = ENDINGS.get(state, "dim" if state == "waiting" else "cyan")
    return f"[{colour}]{state} {suffix}[/]"


class Run:
    """Processes photos in a running sandbox; saves results and reports to `out` as they arrive."""

    def __init__(self, running: Sandbox, out: Path, board: Board) -> None:
        self._running = running
        self._reader = StatusReader(running)
        self._out = out
        self._board = board
        self._dropped_at: dict[str, float] = {}
        self._version_ids: dict[str, str] = {}

    def process(self, photos: Sequence[Photo]) -> list[Outcome]:
        """Upload all photos, wait until each has a final status or the time-out, and return the outcomes in order."""
        deadline = time.monotonic() + BASE_TIMEOUT_SECONDS + TIMEOUT_SECONDS_PER_PHOTO * len(photos)
        outcomes = {photo.key: ended for photo in photos if (ended := self._drop(photo))}
        pending = {photo.key: photo for photo in photos if photo.key not in outcomes}
        while pending and time.monotonic() < deadline:
            started = time.monotonic()
            outcomes |= self._poll_once(pending)
            # A poll takes CPU time from the simulated AWS, more with a longer ledger. This limits it to a third.
            time.sleep(max(POLL_SECONDS, 2 * (time.monotonic() - started)))
        for photo in pending.values():
            reason = "It did not finish in time. Try fewer photos."
            outcomes[photo.key] = self._without_result(photo, TIMED_OUT, reason)
        return self._with_polls([outcomes[photo.key] for photo in photos])

    def _drop(self, photo: Photo) -> Outcome | None:
        """Upload a photo. Returns an outcome if the upload fails."""
        self._dropped_at[photo.key] = time.monotonic()
        bucket = self._running.cloud.outputs["InputBucketName"]
        try:
            self._running.cloud.client("s3").upload_file(str(photo.path), bucket, photo.key)
        except TRANSFER_ERRORS as error:
            return self._without_result(photo, "failed", f"The upload failed: {error}")
        self._board.show(photo.key, "dropped")
        return None

    def _poll_once(self, pending: dict[str, Photo]) -> dict[str, Outcome]:
        """Show the state of the pending photos. Moves photos with a final status from `pending` to the result."""
        finished = {}
        for status in self._reader.read():
            if status.key not in pending:
                continue
            self._version_ids[status.key] = status.version_id
            self._board.show(status.key, status.state, status.percent)
            if status.is_final:
                finished[status.key] = self._finish(pending.pop(status.key), status)
        return finished

    def _finish(self, photo: Photo, status: UploadStatus) -> Outcome:
        seconds = time.monotonic() - self._dropped_at[photo.key]
        outcome = Outcome(photo.key, status.state, photo.path, seconds, reason=status.reason, options=status.options)
        try:
            if status.state == "enhanced":
                return replace(outcome, result=self._fetch(status.row["output"]["key"]))
            report = status.row.get("report_key")  # there is none next to a newer photo
            return replace(outcome, report=self._fetch(report)) if report else outcome
        except TRANSFER_ERRORS as error:
            return replace(outcome, reason=f"{outcome.reason} The download failed: {error}".strip())

    def _without_result(self, photo: Photo, state: str, reason: str) -> Outcome:
        self._board.show(photo.key, state)
        return Outcome(photo.key, state, photo.path, time.monotonic() - self._dropped_at[photo.key], reason=reason)

    def _fetch(self, key: str) -> Path:
        path = self._out / key
        path.parent.mkdir(parents=True, exist_ok=True)
        with (self._out / RECORD).open("a", encoding="utf-8") as record:
            print(json.dumps(key), file=record)
        bucket = self._running.cloud.outputs["OutputBucketName"]
        self._running.cloud.client("s3").download_file(bucket, key, str(path))
        return path

    def _with_polls(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        polls = self._reader.polls()
        return [replace(one, polls=polls[self._version_ids.get(one.key, "")]) for one in outcomes]


def present(outcomes: Iterable[Outcome], out: Path, expected: int) -> tuple[list[Outcome], Path]:
    """Compare results with originals and write the page. Returns the outcomes with comparisons, and the page."""
    writer = Writer(out, expected)
    compared = [_compared(outcome, writer) for outcome in outcomes]
    return compared, writer.write()


def _compared(outcome: Outcome, writer: Writer) -> Outcome:
    if not outcome.result:
        writer.add(outcome)
        return outcome
    try:
        before, after, kept = load(outcome.original), load(outcome.result), kept_metadata(outcome.result)
    except UnreadableError as error:
        outcome = replace(outcome, reason=str(error))
        writer.add(outcome)
        return outcome
    outcome = replace(outcome, comparison=compare(before, after), kept=kept)
    writer.add(outcome, before, after)
    return outcome


def _print_results(outcomes: Sequence[Outcome], page: Path, console: Console) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("Photo", overflow="fold")
    for heading in ("Pixels", "Sharpness", "Seconds", "Polls"):
        table.add_column(heading, justify="right", no_wrap=True)
    for outcome in outcomes:
        table.add_row(Text(clean(outcome.key)), *_figures(outcome), f"{outcome.seconds:.1f}", str(outcome.polls))
    console.print(table)
    console.print("Sharpness is relative to a bicubic enlargement to the same size.", style="dim")
    for outcome in outcomes:
        if outcome.reason:
            report = f" Report: {outcome.report}" if outcome.report else ""
            console.print()
            _print(console, f"{outcome.key}: {outcome.reason}{report}")
    console.print()
    if others := [outcome for outcome in outcomes if not outcome.result]:
        _print(
            console, f"{len(outcomes) - len(others)} of {_count(outcomes)} enhanced. Each other has its reason above."
        )
    _print(console, f"Before and after: {page}")


def _figures(outcome: Outcome) -> tuple[str, str]:
    if not outcome.comparison:
        return _coloured(outcome.state), ""
    sizes = f"{size_text(outcome.comparison.before)} → {size_text(outcome.comparison.after)}"
    return sizes, f"{outcome.comparison.sharpness:.1f} \N{MULTIPLICATION SIGN}"


def _print(console: Console, text: str) -> None:
    """Print a line literally: it can contain file names."""
    console.print(clean(text), markup=False, emoji=False, highlight=False, soft_wrap=True)
