"""`lumendrop enhance PATH…`: uploads photos from this machine, and downloads their results."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from lumendrop_cli import cost, enhance_plan, photo_files, photo_options
from lumendrop_cli.enhance_plan import Photo, Plan, Request
from lumendrop_cli.enhance_run import AGAIN, Run
from lumendrop_cli.errors import FAILURE, CliError, NotConfirmed, describe, on_interrupt
from lumendrop_cli.overlaps import check_overlaps
from lumendrop_cli.photo_files import LocalFile, Skipped
from lumendrop_cli.printer import Line, Printer, printer, some_of
from lumendrop_cli.result_folder import ResultFolder
from lumendrop_cli.stack import Stack, load_stack
from lumendrop_cli.text import count
from lumendrop_cli.watching import Watcher

_UNASKED = 20  # tasks that are paid for without confirmation
_STEP_SECONDS = 0.2
_RETRY_SECONDS = 10.0


def enhance(
    context: typer.Context,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH…", help="Photos, and folders of photos.", exists=True)],
    out_folder: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="The folder for results.")] = Path(
        "enhanced"
    ),
    watch: Annotated[
        bool, typer.Option("--watch", help="Continue with files that are new or change, until Ctrl-C.")
    ] = False,
    resolution: Annotated[str | None, typer.Option(metavar="1K|4K", help="The output resolution.")] = None,
    creativity: Annotated[str | None, typer.Option(metavar="0.0-1.0", help="How far results may depart.")] = None,
    resemblance: Annotated[str | None, typer.Option(metavar="0.0-1.0", help="How closely they must resemble.")] = None,
    profile_ids: Annotated[str | None, typer.Option(metavar="IDS", help="Profiles of people, with commas.")] = None,
    metadata: Annotated[
        str | None, typer.Option(metavar="keep|no-location|none", help="What results get of the photos' metadata.")
    ] = None,
    prefix: Annotated[
        str | None, typer.Option(metavar="PREFIX", help="Where photos go in the input bucket, such as holiday/.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and its cost, and do nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask for confirmation.")] = False,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Only upload. Run the command again to fetch the results.")
    ] = False,
) -> None:
    """Enhance photos of this machine: upload them, wait, and download the results. Pays for a task per photo.

    The plan comes first; above 20 tasks, the command asks. Photos that are already enhanced are fetched and cost
    nothing. You can interrupt the command at any time, and run it again: it continues. Without an option, the stack's
    own setting applies. With --json, each line is one JSON document. Exit code 1 if a photo was not enhanced.
    """
    given = {
        "resolution": resolution,
        "creativity": creativity,
        "resemblance": resemblance,
        "profile-ids": profile_ids,
        "metadata": metadata,
    }
    options = photo_options.checked(given)
    if watch and dry_run:
        raise typer.BadParameter("give only one of --watch and --dry-run")
    stack, out = load_stack(context), printer(context)
    request = Request(_key_prefix(stack, prefix), options, photo_options.as_text(stack, options))
    command = Enhance(stack, request, ResultFolder(out_folder), out, asks=not yes, no_wait=no_wait)
    if watch:
        command.watch(paths)
    command.run(paths, dry_run=dry_run)


def _key_prefix(stack: Stack, prefix: str | None) -> str:
    """Where the photos go. A prefix is a folder."""
    input_prefix = stack.parameters.get("InputPrefix", "")
    if prefix is None:
        return input_prefix
    if not prefix.startswith(input_prefix):
        raise CliError(f"Only keys that begin with {input_prefix!r} (InputPrefix) are enhanced, not {prefix!r}.", 2)
    return prefix if prefix.endswith("/") or prefix == input_prefix else f"{prefix}/"


class Enhance:
    """One run of the command."""

    def __init__(
        self, stack: Stack, request: Request, folder: ResultFolder, out: Printer, *, asks: bool, no_wait: bool
    ) -> None:
        self._stack, self._request, self._folder, self._out = stack, request, folder, out
        self._asks, self._no_wait = asks, no_wait
        self._delay: str | None = None
        self._left_out: list[Path] = []

    def run(self, paths: Sequence[Path], *, dry_run: bool) -> None:
        """Enhances the photos that are there now. Raises typer.Exit if some were not enhanced."""
        plan = self._plan(paths, list(photo_files.discover(paths, self._folder.root)))
        self._show(plan, dry_run=dry_run)
        if dry_run:
            return
        if not plan.photos:
            raise typer.Exit(FAILURE)
        self._confirm(plan)
        self._folder.create()
        run, began = Run(self._stack, self._folder, self._changed, no_wait=self._no_wait), time.monotonic()
        with on_interrupt(f"Uploaded photos are enhanced without this command. {AGAIN}"):
            try:
                run.start(plan.photos)
                self._follow(run, len(plan.photos))
            finally:
                run.stop()
        self._summarize(run.ended, plan, time.monotonic() - began)

    def watch(self, paths: Sequence[Path]) -> NoReturn:
        """Enhances photos as they appear, until Ctrl-C. Errors of AWS are reported once, and tried again."""
        check_overlaps(paths, [], self._folder)
        watcher = Watcher(paths, self._folder.root)
        self._out.note(f"Watching {count(len(paths), 'path')}. Press Ctrl-C to end.")
        with on_interrupt(f"Uploaded photos are enhanced without this command. {AGAIN}"):
            try:
                reported = ""
                while True:
                    error = self._watch_until_error(watcher, paths)
                    if error != reported:
                        self._out.note(f"{error} Trying again.")
                    reported = error
                    time.sleep(_RETRY_SECONDS)
            finally:
                watcher.close()
        raise AssertionError("unreachable")

    def _watch_until_error(self, watcher: Watcher, paths: Sequence[Path]) -> str:
        """Returns the error of AWS that ended it. What has not ended is given back, to be found again."""
        run = Run(self._stack, self._folder, self._changed, no_wait=self._no_wait)
        planned: list[Photo] = []
        files: list[LocalFile] = []
        try:
            with self._out.progress_bars() as show:
                while True:
                    files = watcher.ready()
                    self._report_left_out(watcher.left_out)
                    if files:
                        planned += self._start(run, paths, files)
                        files = []
                    run.step(_STEP_SECONDS)
                    if not run.is_active:
                        time.sleep(_STEP_SECONDS)
                    self._report_delay(run.delay)
                    show(run.bars(), len(run.ended), len(planned), run.label())
        except NotConfirmed:
            raise
        except (BotoCoreError, ClientError, ResponseParserError, CliError) as error:
            return str(describe(error))
        finally:
            left = run.stop()
            watcher.give_back([*files, *(photo.source.file for photo in left)])

    def _start(self, run: Run, paths: Sequence[Path], files: Sequence[LocalFile]) -> list[Photo]:
        """Starts files that have appeared. Asks only about those that were there at first."""
        check_overlaps(paths, files, self._folder)
        plan = enhance_plan.make_plan(self._stack, files, self._request, self._folder, lambda _: None)
        if self._asks:
            self._show(plan, dry_run=False)
            self._confirm(plan)
            self._asks = False
        self._folder.create()
        run.start(plan.photos)
        return plan.photos

    def _plan(self, paths: Sequence[Path], found: list[LocalFile | Skipped]) -> Plan:
        files = [one for one in found if isinstance(one, LocalFile)]
        check_overlaps(paths, files, self._folder)
        names = [file.name for file in files]
        if clash := photo_files.clashing(names):
            raise CliError(
                f"Two of the paths have a file {clash!r}, but only one can have that name in {self._folder.root}."
            )
        with self._out.progress(f"Reading {count(len(names), 'file')} …") as progress:
            return enhance_plan.make_plan(self._stack, found, self._request, self._folder, progress)

    def _confirm(self, plan: Plan) -> None:
        if self._asks and plan.tasks > _UNASKED:
            price = cost.describe(self._stack, plan.tasks, usd=_usd(self._stack, self._request, plan))
            self._out.confirm(f"This pays for {price}. Continue?")

    def _show(self, plan: Plan, *, dry_run: bool) -> None:
        """Shows the plan: as an event, or as text that is the result of a dry run, and otherwise a note."""
        figures = enhance_plan.figures(plan, self._request)
        usd = _usd(self._stack, self._request, plan)
        data = {"event": "plan", "prefix": self._request.prefix, "out": str(self._folder.root), **figures, "usd": usd}
        if self._out.as_json:
            self._out.event(data | {"skipped": [{"name": one.name, "reason": one.reason} for one in plan.skipped]})
            return
        for line in _plan_lines(plan, figures, cost.describe(self._stack, plan.tasks, usd=usd)):
            if dry_run:
                self._out.event(data, line)
            else:
                self._out.note(line)

    def _follow(self, run: Run, total: int) -> None:
        with self._out.progress_bars() as show:
            while run.is_active:
                run.step(_STEP_SECONDS)
                show(run.bars(), len(run.ended), total, run.label())
                self._report_delay(run.delay)

    def _report_left_out(self, paths: list[Path]) -> None:
        if paths and paths != self._left_out:
            self._out.note("These files are left out, because another path has a file with the same name:")
            for line in some_of([str(path) for path in paths]):
                self._out.note(line)
        self._left_out = paths

    def _report_delay(self, reason: str | None) -> None:
        if reason and reason != self._delay:
            self._out.event({"event": "delayed", "reason": reason})
            self._out.note(f"Uploads wait: {reason}.")
        self._delay = reason

    def _changed(self, photo: Photo) -> None:
        """Reports a photo that was uploaded, or that has ended."""
        data: dict[str, Any] = {"event": photo.state, "name": photo.name, "key": photo.source.key}
        if photo.upload:
            data |= {"upload": {"key": photo.upload[0], "version_id": photo.upload[1]}}
        if photo.state == "wait":
            self._out.event(data | {"event": "uploaded", "new": photo.was_uploaded})
            return
        if photo.state == "failed":
            code = (photo.row or {}).get("outcome", {}).get("code") if photo.row else None
            self._out.event(data | {"code": code, "error": photo.error}, _line(photo, photo.error))
            return
        if photo.state == "uploaded":
            self._out.event(data, None)
            return
        paid = photo.was_uploaded and photo.is_own and not (photo.row or {}).get("same_as")
        more = {"path": str(photo.path), "paid": paid, "same_as": (photo.row or {}).get("same_as")}
        self._out.event(data | more, _line(photo, str(photo.path)) if photo.state == "enhanced" else None)

    def _summarize(self, ended: list[Photo], plan: Plan, seconds: float) -> None:
        states = Counter(photo.state for photo in ended)
        paid = sum(photo.was_uploaded for photo in ended)
        data = {
            "event": "summary",
            "photos": len(plan.photos),
            "enhanced": states["enhanced"],
            "done_before": states["done"],
            "uploaded": paid,
            "failed": states["failed"],
            "skipped": len(plan.skipped),
            "out": str(self._folder.root),
            "seconds": round(seconds, 2),
        }
        parts = {"enhanced": "enhanced", "done": "done before", "failed": "not enhanced", "uploaded": "uploaded"}
        text = ", ".join(f"{states[state]:,} {words}" for state, words in parts.items() if states[state])
        then = " Run the same command without --no-wait to fetch the results." if states["uploaded"] else ""
        self._out.event(data, f"{text or 'Nothing'}. Results: {self._folder.root}.{then}")
        if states["failed"]:
            raise typer.Exit(FAILURE)


def _usd(stack: Stack, request: Request, plan: Plan) -> float:
    return round(plan.tasks * cost.price_usd(stack, profiles="profile_ids" in request.options), 2)


def _line(photo: Photo, text: str) -> Line:
    return (f"{photo.state:<9}", "red" if photo.state == "failed" else "green"), (f" {photo.name}  {text}", "")


def _plan_lines(plan: Plan, figures: dict[str, Any], price: str) -> Iterator[str]:
    yield f"{count(figures['photos'], 'photo')}, {_size(figures['bytes'])}:"
    counts = {
        "upload": f"{figures['upload']:,}, {_size(figures['upload_bytes'])}; pays for {price}",
        "in progress": f"{figures['in_progress']:,}; uploaded before, and not paid for again",
        "fetch": f"{figures['fetch']:,}; already enhanced, and not paid for again",
        "done": f"{figures['done']:,}; already in the folder for results",
        "failed": f"{figures['failed']:,}; uploaded before, without a result",
        "names taken": f"{figures['names_taken']:,}; a file there is kept, unless it is an earlier result of the photo",
        "larger": f"{figures['larger_than_result']:,} of the uploads have more pixels than a result can have",
        "skipped": f"{figures['skipped']:,}: " + ", ".join(f"{n:,} {why}" for why, n in _reasons(figures)),
    }
    yield from (f"  {name:<12} {text}" for name, text in counts.items() if not text.startswith("0"))
    shown = [f"{one.name}: {one.reason}" for one in plan.skipped if one.reason != "hidden"]
    yield from (f"  {line}" for line in some_of(shown))


def _reasons(figures: dict[str, Any]) -> list[tuple[str, int]]:
    return sorted(figures["skipped_reasons"].items(), key=lambda item: -item[1])


def _size(size: int) -> str:
    amount = float(size)
    for unit in ("bytes", "KB", "MB"):
        if amount < 1000:
            return f"{amount:,.0f} {unit}" if unit == "bytes" else f"{amount:,.1f} {unit}"
        amount /= 1000
    return f"{amount:,.1f} GB"
