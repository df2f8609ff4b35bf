"""`python -m sandbox demo`: drop photos, watch them go through, look at what came back."""

import tempfile
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

from sandbox.demo.page import Outcome, Writer, size_text
from sandbox.demo.photos import Photo, PhotosError, UnreadableError, bundled, compare, discover, load
from sandbox.demo.start import Sandbox, sandbox
from sandbox.demo.watch import Sight, Watch

SECONDS_BETWEEN_LOOKS = 0.25
SECONDS_IN_ALL, SECONDS_A_PHOTO = 180, 60  # before the demo gives up: the sum, for all photos
ROWS_BESIDE_BARS = 4  # of the terminal

# How far along a state is, in per cent; `enhancing` adds its share of how far the task is.
PROGRESS = {
    "waiting": 0,
    "dropped": 2,
    "claimed": 5,
    "retrying": 5,
    "submitted": 10,
    "enhancing": 15,
    "task ended": 85,
    "delivering": 90,
    "reporting": 90,
}
ENHANCING_SHARE = 0.7
ENDED = 100
ENDINGS = {
    "enhanced": "green",
    "superseded": "yellow",
    "skipped": "yellow",
    "rejected": "red",
    "failed": "red",
    "unknown": "red",
    "timed out": "red",
}

TRANSFER_ERRORS = (OSError, Boto3Error, BotoCoreError, ClientError)

COLOURS = {
    "waiting": "dim",
    "enhanced": "green",
    "superseded": "yellow",
    "skipped": "yellow",
    "rejected": "red",
    "failed": "red",
    "unknown": "red",
    "timed out": "red",
}


def run(folder: Path | None, out: Path, resolution: str | None, console: Console) -> int:
    """Send the photos in `folder`, or the bundled ones, through the sandbox; results and page go to `out`.

    Returns 0 if every photo came back enhanced, else 1. Raises `PhotosError` when a folder can't be used, and
    what `start.sandbox` raises.
    """
    with tempfile.TemporaryDirectory() as scratch:
        _prepare_out(out, folder)
        photos = discover(folder, leave_out=out) if folder else bundled(Path(scratch))
        console.print("Starting AWS and the enhancer on this machine ...")
        with sandbox({"Resolution": resolution or ("4K" if folder else "1K")}) as running:
            console.print(f"Dropping {_count(photos)} into s3://{running.cloud.outputs['InputBucketName']}")
            with Board(console, [photo.key for photo in photos]) as board:
                outcomes = Run(running, out, board).through(photos)
        compared = track(outcomes, "Comparing before and after ...", console=console, disable=not console.is_terminal)
        outcomes, page = present(compared, out, expected=len(outcomes))
    _print_results(outcomes, page, console)
    return 0 if all(outcome.result for outcome in outcomes) else 1


def _prepare_out(out: Path, folder: Path | None) -> None:
    if folder and folder.resolve().is_relative_to(out.resolve()):
        raise PhotosError(f"Results in {out} would mix with your photos in {folder}. Choose another --out.")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PhotosError(f"{out} can't be a folder for results: {error.strerror}. Choose another --out.") from error


def _count(photos: Sequence[object]) -> str:
    return f"{len(photos)} file{'' if len(photos) == 1 else 's'}"


class Board:
    """A bar for each photo on a terminal; elsewhere a line for each change of state."""

    def __init__(self, console: Console, keys: Sequence[str]) -> None:
        self._console = console
        self._width = max(len(key) for key in keys)
        # With more photos than rows, only those on their way have a bar, and all of them one together.
        self._crowded = len(keys) > console.height - ROWS_BESIDE_BARS
        self._progress = Progress(
            TextColumn("{task.description}", markup=False, table_column=Column(ratio=2, no_wrap=True)),
            BarColumn(bar_width=None, table_column=Column(ratio=2)),
            TextColumn("{task.fields[says]}", table_column=Column(min_width=16)),
            console=console,
            disable=not console.is_terminal,
        )
        self._all = self._progress.add_task("all", total=len(keys), says=f"0 of {len(keys)}", visible=self._crowded)
        self._bars = {key: self._add(key) for key in keys}
        self._states = dict.fromkeys(keys, "waiting")

    def _add(self, key: str) -> TaskID:
        says = _coloured("waiting")
        return self._progress.add_task(key, total=ENDED, says=says, visible=not self._crowded)

    def __enter__(self) -> "Board":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, key: str, state: str, percent: int = 0) -> None:
        """Show that the photo is in `state`; `percent` is how far its task is, 0 unless `enhancing`."""
        done = ENDED if state in ENDINGS else PROGRESS.get(state, 0) + ENHANCING_SHARE * percent
        says = _coloured(state, f"{percent} %" if state == "enhancing" else "")
        visible = not self._crowded or PROGRESS["dropped"] < done < ENDED
        self._progress.update(self._bars[key], completed=done, says=says, visible=visible)
        if self._states[key] != state and not self._console.is_terminal:
            _say(self._console, f"{key:<{self._width}}  {state}")
        self._states[key] = state
        ended = sum(1 for state in self._states.values() if state in ENDINGS)
        self._progress.update(self._all, completed=ended, says=f"{ended} of {len(self._states)}")


def _coloured(state: str, more: str = "") -> str:
    colour = ENDINGS.get(state, "dim" if state == "waiting" else "cyan")
    return f"[{colour}]{state} {more}[/]"


class Run:
    """One run of photos through the sandbox; results and reports go to `out` as they come."""

    def __init__(self, running: Sandbox, out: Path, board: Board) -> None:
        self._running = running
        self._watch = Watch(running)
        self._out = out
        self._board = board
        self._dropped_at: dict[str, float] = {}
        self._version_ids: dict[str, str] = {}

    def through(self, photos: Sequence[Photo]) -> list[Outcome]:
        """Drop all photos, wait until each has ended or time is up, and say what became of each, in order."""
        deadline = time.monotonic() + SECONDS_IN_ALL + SECONDS_A_PHOTO * len(photos)
        outcomes = {photo.key: ended for photo in photos if (ended := self._drop(photo))}
        pending = {photo.key: photo for photo in photos if photo.key not in outcomes}
        while pending and time.monotonic() < deadline:
            started = time.monotonic()
            outcomes |= self._look(pending)
            # Looking costs AWS's process time, the more the longer the ledger: leave it most of it.
            time.sleep(max(SECONDS_BETWEEN_LOOKS, 4 * (time.monotonic() - started)))
        for photo in pending.values():
            reason = "It had not ended when the demo's time was up. Try fewer photos, or --resolution 1K."
            outcomes[photo.key] = self._without_result(photo, "timed out", reason)
        return self._with_polls([outcomes[photo.key] for photo in photos])

    def _drop(self, photo: Photo) -> Outcome | None:
        """Upload a photo; an outcome if that is already the end of it."""
        self._dropped_at[photo.key] = time.monotonic()
        bucket = self._running.cloud.outputs["InputBucketName"]
        try:
            if photo.path.stat().st_size == 0:
                return self._without_result(photo, "skipped", "The file is empty: there is nothing to enhance.")
            self._running.cloud.client("s3").upload_file(str(photo.path), bucket, photo.key)
        except TRANSFER_ERRORS as error:
            return self._without_result(photo, "failed", f"It could not be dropped: {error}")
        self._board.show(photo.key, "dropped")
        return None

    def _look(self, pending: dict[str, Photo]) -> dict[str, Outcome]:
        """Show where the pending photos are; those that have ended are taken out of `pending`."""
        ended = {}
        for sight in self._watch.look():
            if sight.key not in pending:
                continue
            self._version_ids[sight.key] = sight.version_id
            self._board.show(sight.key, sight.state, sight.percent)
            if sight.is_final:
                ended[sight.key] = self._end(pending.pop(sight.key), sight)
        return ended

    def _end(self, photo: Photo, sight: Sight) -> Outcome:
        seconds = time.monotonic() - self._dropped_at[photo.key]
        outcome = Outcome(photo.key, sight.state, photo.path, seconds, reason=sight.reason, options=sight.options)
        try:
            if sight.state == "enhanced":
                return replace(outcome, result=self._fetch(sight.row["output"]["key"]))
            return replace(outcome, report=self._fetch(sight.row["report_key"]))
        except TRANSFER_ERRORS as error:
            return replace(outcome, reason=f"{outcome.reason} It could not be fetched: {error}".strip())

    def _without_result(self, photo: Photo, state: str, reason: str) -> Outcome:
        self._board.show(photo.key, state)
        return Outcome(photo.key, state, photo.path, time.monotonic() - self._dropped_at[photo.key], reason=reason)

    def _fetch(self, key: str) -> Path:
        path = self._out / key
        path.parent.mkdir(parents=True, exist_ok=True)
        bucket = self._running.cloud.outputs["OutputBucketName"]
        self._running.cloud.client("s3").download_file(bucket, key, str(path))
        return path

    def _with_polls(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        found = self._watch.polls()
        return [replace(one, polls=found[self._version_ids.get(one.key, "")]) for one in outcomes]


def present(outcomes: Iterable[Outcome], out: Path, expected: int) -> tuple[list[Outcome], Path]:
    """Compare results with originals and write the page. Gives the outcomes with comparisons, and the page."""
    writer = Writer(out, expected)
    compared = [_compared(outcome, writer) for outcome in outcomes]
    return compared, writer.write()


def _compared(outcome: Outcome, writer: Writer) -> Outcome:
    if not outcome.result:
        writer.add(outcome)
        return outcome
    try:
        before, after = load(outcome.original), load(outcome.result)
    except UnreadableError as error:
        outcome = replace(outcome, reason=str(error))
        writer.add(outcome)
        return outcome
    outcome = replace(outcome, comparison=compare(before, after))
    writer.add(outcome, before, after)
    return outcome


def _print_results(outcomes: Sequence[Outcome], page: Path, console: Console) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("Photo", overflow="fold")
    for heading in ("Pixels", "Sharpness", "Seconds", "Polls"):
        table.add_column(heading, justify="right", no_wrap=True)
    for outcome in outcomes:
        table.add_row(Text(outcome.key), *_figures(outcome), f"{outcome.seconds:.1f}", str(outcome.polls))
    console.print(table)
    console.print("Sharpness: against a plain bicubic enlargement to the same size.", style="dim")
    for outcome in outcomes:
        if outcome.reason:
            report = f" Report: {outcome.report}" if outcome.report else ""
            _say(console, f"\n{outcome.key}: {outcome.reason}{report}")
    _say(console, f"\nBefore and after: {page}")


def _figures(outcome: Outcome) -> tuple[str, str]:
    if not outcome.comparison:
        return _coloured(outcome.state), ""
    sizes = f"{size_text(outcome.comparison.before)} → {size_text(outcome.comparison.after)}"
    return sizes, f"{outcome.comparison.sharpness:.1f} \N{MULTIPLICATION SIGN}"


def _say(console: Console, text: str) -> None:
    """Print text that may have file names in it, as it is."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)
