"""`python -m sandbox demo`: uploads photos, follows them through the pipeline, and compares the results."""

import contextlib
import json
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import boto3
from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text

from lumendrop_cli import photo_options
from lumendrop_cli.enhance_plan import Photo, Request, make_plan
from lumendrop_cli.enhance_run import Run
from lumendrop_cli.photo_files import LocalFile
from lumendrop_cli.printer import Printer
from lumendrop_cli.result_folder import ResultFolder
from lumendrop_cli.stack import Options, Stack, open_stack
from lumendrop_cli.statuses import COLORS
from lumendrop_cli.text import clean, count
from sandbox.demo.images import (
    Comparison,
    PhotosError,
    UnreadableError,
    compare,
    discover,
    kept_metadata,
    load,
    samples,
)
from sandbox.demo.saved_board import PAGE, SavedBoard, record
from sandbox.demo.start import STACK, Sandbox, sandbox
from sandbox.demo.status import StatusReader

STEP_SECONDS = 0.2
BASE_TIMEOUT_SECONDS, TIMEOUT_SECONDS_PER_PHOTO = 180, 60
TIMED_OUT, SKIPPED = "timed out", "skipped"
ENDINGS = {**COLORS, TIMED_OUT: "red", SKIPPED: "yellow"}

# A file in the folder for results: what the last run wrote, one name in JSON per line.
RECORD = ".demo-files"
ANOTHER = "Choose another folder: OUT=DIR with make, otherwise --out DIR."


@dataclass(frozen=True)
class Outcome:
    """The outcome of one file. The paths of `result` and `report` are below the folder for results.

    `version_id` is that of its upload; empty if it was not uploaded.
    """

    key: str
    state: str
    original: Path
    seconds: float = 0.0
    polls: int = 0
    result: Path | None = None
    report: Path | None = None
    reason: str = ""
    comparison: Comparison | None = None
    version_id: str = ""


def run(folder: Path | None, out: Path, resolution: str | None, console: Console) -> int:
    """Send the photos in `folder`, or the samples, through the sandbox, and write results and the board to `out`.

    A photo that is rejected is a result. Returns 0 if every file has one, otherwise 1. Raises `PhotosError` when a
    folder can't be used, and the errors of `start.sandbox`.
    """
    _prepare_out(out, folder)
    photos = discover(folder, leave_out=out) if folder else samples()
    _remove_earlier(out)
    console.print("Starting AWS and the enhancer on this machine ...")
    with sandbox({"Resolution": resolution or ("4K" if folder else "1K")}) as running:
        running.cloud.warm()
        console.print(f"Dropping {count(len(photos), 'file')} into s3://{running.cloud.outputs['InputBucketName']}")
        process = Process(running, out)
        outcomes = process.run(photos)
        board = SavedBoard(record(process.stack))
    process.recorded(out.resolve() / PAGE)
    compared = track(outcomes, "Comparing before and after ...", console=console, disable=not console.is_terminal)
    outcomes, page = present(compared, out, board)
    _print_results(outcomes, page, console)
    return 0 if all(map(_has_result, outcomes)) else 1


def _has_result(outcome: Outcome) -> bool:
    return bool(outcome.result or outcome.report) or outcome.state in ("superseded", SKIPPED)


def _prepare_out(out: Path, folder: Path | None) -> None:
    if folder and folder.resolve().is_relative_to(out.resolve()):
        raise PhotosError(f"Results in {out} would mix with your photos in {folder}. {ANOTHER}")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PhotosError(f"{out} can't be a folder for results: {error.strerror}. {ANOTHER}") from error


def _recorded_names(out: Path) -> list[str]:
    """What an earlier run wrote. Raises PhotosError if this run would replace something else."""
    record = out / RECORD
    try:
        names = [json.loads(line) for line in record.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError:
        names = []
    except (OSError, ValueError):
        raise PhotosError(f"{record} is not the list of files of an earlier run. {ANOTHER}") from None
    if PAGE not in names and os.path.lexists(out / PAGE):
        raise PhotosError(f"{out / PAGE} is not the page of an earlier run, so it is not replaced. {ANOTHER}")
    return names


def _remove_earlier(out: Path) -> None:
    """Remove the results of an earlier run, and nothing else that may be in the folder."""
    for path in (out / name for name in _recorded_names(out)):
        if not path.resolve().is_relative_to(out.resolve()):
            continue
        if path.is_file():
            path.unlink()
        for folder in path.relative_to(out).parents[:-1]:
            with contextlib.suppress(OSError):  # it has other files
                (out / folder).rmdir()
    (out / RECORD).write_text("", encoding="utf-8")


class Process:
    """Sends files through a running sandbox as `lumendrop enhance` does, and writes results and reports to `out`."""

    def __init__(self, running: Sandbox, out: Path) -> None:
        self._running, self._out = running, out
        self._uploaded: dict[str, float] = {}
        self._outcomes: dict[str, Outcome] = {}

    @cached_property
    def stack(self) -> Stack:
        """The stack, as the command `lumendrop` sees it."""
        cloud = self._running.cloud
        session = boto3.Session("test", "test", region_name=cloud.region)  # the sandbox accepts any credentials
        return open_stack(Options(STACK, cloud.endpoint, None, None, as_json=False), session)

    def run(self, files: Sequence[LocalFile]) -> list[Outcome]:
        """The outcomes, in the order of the files."""
        deadline = time.monotonic() + BASE_TIMEOUT_SECONDS + TIMEOUT_SECONDS_PER_PHOTO * len(files)
        stack = self.stack
        folder, request = ResultFolder(self._out), Request("", {}, photo_options.as_text(stack, {}))
        plan = make_plan(stack, files, request, folder, lambda _: None)
        paths = {file.name: file.path for file in files}
        for one in plan.skipped:
            self._outcomes[one.name] = Outcome(
                one.name, SKIPPED, paths[one.name], reason=f"Not uploaded: {one.reason}."
            )
        run = Run(stack, folder, self._changed)
        run.start(plan.photos)
        with Printer(as_json=False).progress_bars() as show:
            while run.is_active and time.monotonic() < deadline:
                run.step(STEP_SECONDS)
                show(run.bars(), len(run.ended), len(plan.photos), run.label())
        for photo in run.stop():
            reason = "It did not finish in time. Try fewer photos."
            self._outcomes[photo.name] = Outcome(photo.name, TIMED_OUT, paths[photo.name], reason=reason)
        return self._with_polls([self._outcomes[file.name] for file in files])

    def _changed(self, photo: Photo) -> None:
        """Called for each photo that was uploaded, and for each that has ended."""
        now = time.monotonic()
        if photo.state == "wait":
            self._uploaded[photo.name] = now
            return
        row = photo.row or {}
        state = "enhanced" if photo.path else str(row.get("status", "failed"))
        seconds, version_id = now - self._uploaded.get(photo.name, now), str(row.get("version_id", ""))
        outcome = Outcome(photo.name, state, photo.source.file.path, seconds, reason=photo.error, version_id=version_id)
        if photo.path:
            outcome = replace(outcome, result=self.recorded(photo.path))
        elif key := row.get("report_key"):  # there is none next to a newer photo
            outcome = replace(outcome, report=self._fetch(key))
        self._outcomes[photo.name] = outcome

    def _fetch(self, key: str) -> Path:
        """Downloads a report."""
        folder = ResultFolder(self._out)
        path = self.recorded(next(path for path in map(folder.place, folder.names(key, key)) if not path.exists()))
        bucket = self._running.cloud.outputs["OutputBucketName"]
        self._running.cloud.client("s3").download_file(bucket, key, str(path))
        return path

    def recorded(self, path: Path) -> Path:
        """Records a file that this run writes. Returns its path below `out`, which the next run removes."""
        name = path.relative_to(self._out.resolve())
        with (self._out / RECORD).open("a", encoding="utf-8") as record:
            print(json.dumps(name.as_posix()), file=record)
        return self._out / name

    def _with_polls(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        polls = StatusReader(self._running).polls()
        return [replace(one, polls=polls[one.version_id]) for one in outcomes]


def present(outcomes: Iterable[Outcome], out: Path, board: SavedBoard) -> tuple[list[Outcome], Path]:
    """Compare results with originals and write the board. Returns the outcomes with comparisons, and the page."""
    return [_compared(outcome, out, board) for outcome in outcomes], board.write(out)


def _compared(outcome: Outcome, out: Path, board: SavedBoard) -> Outcome:
    if not outcome.version_id:
        return outcome
    try:
        before = load(outcome.original)
        after = load(outcome.result) if outcome.result else None
    except UnreadableError as error:
        before, after, outcome = None, None, replace(outcome, reason=outcome.reason or str(error))
    if outcome.result:
        file, kept = outcome.result.relative_to(out).as_posix(), kept_metadata(outcome.result)
        board.add(outcome.version_id, before, after, file, kept)
    else:
        board.add(outcome.version_id, before, None)
    return replace(outcome, comparison=compare(before, after)) if before and after else outcome


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
        files = count(len(outcomes), "file")
        _print(console, f"{len(outcomes) - len(others)} of {files} enhanced. Each other has its reason above.")
    _print(console, f"The board, with before and after: {page}")


def _coloured(state: str) -> str:
    return f"[{ENDINGS.get(state, 'dim')}]{state}[/]"


def size_text(size: tuple[int, int]) -> str:
    """Width and height with a multiplication sign."""
    return f"{size[0]}\N{MULTIPLICATION SIGN}{size[1]}"


def _figures(outcome: Outcome) -> tuple[str, str]:
    if not outcome.comparison:
        return _coloured(outcome.state), ""
    sizes = f"{size_text(outcome.comparison.before)} → {size_text(outcome.comparison.after)}"
    return sizes, f"{outcome.comparison.sharpness:.1f} \N{MULTIPLICATION SIGN}"


def _print(console: Console, text: str) -> None:
    """Print a line literally: it can contain file names."""
    console.print(clean(text), markup=False, emoji=False, highlight=False, soft_wrap=True)
