"""The board in Chromium: first paint, delay of a state, long tasks with 200 live cards, 10,000 rows, and reads on AWS.

The sandbox runs in this process, the board and the browser in others. Rows are written to the ledger directly.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright
from rich.console import Console
from rich.table import Table

from benchmarks import results
from lumendrop_cli.stack import Options, load_stack
from sandbox.demo.start import Sandbox, sandbox
from tests.board.fakes import TOKEN, running_board

PAINTS, CHANGES, CARDS, ROWS, READ_SECONDS = 7, 30, 200, 10_000, 30
WAIT_SECONDS = 120
BATCH = 25  # the most that DynamoDB accepts in one BatchWriteItem
STAGES = ("claimed", "submitted", "enhanced")
# Collects what takes the main thread longer than 50 ms, from the start of each page.
LONG_TASKS = """
window.longTasks = [];
new PerformanceObserver(list => longTasks.push(...list.getEntries().map(one => one.duration)))
  .observe({ type: "longtask", buffered: true });
"""
SCROLL = """
async () => {
  const list = document.querySelector(".rows-view"), frames = [];
  let last = performance.now();
  for (let step = 0; step < 240; step += 1) {
    list.scrollTop += list.scrollHeight / 240;
    await new Promise(requestAnimationFrame);
    const now = performance.now();
    frames.push(now - last);
    last = now;
  }
  return frames;
}
"""


class Ledger:
    """Writes rows of uploads as `submit` and the workflow do."""

    def __init__(self, running: Sandbox) -> None:
        self._client = running.cloud.client("dynamodb")
        self._outputs = running.cloud.outputs

    def item(self, number: int, status: str) -> dict[str, Any]:
        bucket, key, now = self._outputs["InputBucketName"], f"bench/{number:05}.jpg", datetime.now(UTC)
        texts = {
            "pk": f"object#{bucket}/{key}",
            "sk": f"v{number}",
            "bucket": bucket,
            "key": key,
            "version_id": f"v{number}",
            "status": status,
            "etag": "e",
            "sequencer": f"{number:016}",
            "changed_day": now.date().isoformat(),
            "changed_at": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        }
        numbers = {"attempt": 1, "size": 1_000_000, "submitted_at": int(now.timestamp())}
        final = {"finished_at": {"S": texts["changed_at"]}} if status == "enhanced" else {}
        found = {name: {"S": value} for name, value in texts.items()}
        return found | {name: {"N": str(value)} for name, value in numbers.items()} | final

    def write(self, numbers: range, status: str) -> None:
        for start in range(numbers.start, numbers.stop, BATCH):
            part = numbers[start - numbers.start : start - numbers.start + BATCH]
            requests = [{"PutRequest": {"Item": self.item(number, status)}} for number in part]
            self._client.batch_write_item(RequestItems={self._outputs["LedgerTableName"]: requests})


@contextmanager
def board_process(endpoint: str) -> Iterator[str]:
    """The address that `lumendrop board` prints."""
    command = [sys.executable, "-m", "lumendrop_cli", "--endpoint-url", endpoint, "board", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout
        line = process.stdout.readline()
        found = re.search(r"http://\S+", line)
        if found is None:
            raise SystemExit(f"The board did not start: {line}")
        try:
            yield found[0]
        finally:
            process.terminate()


def opened(browser: Browser, address: str) -> Page:
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.add_init_script(LONG_TASKS)
    page.goto(address)
    page.wait_for_selector("#connection[data-state=live]")
    return page


def wait_for(page: Page, expression: str) -> Any:
    """The value of an expression once it is true. The page's policy forbids the browser to do this by itself."""
    end = time.monotonic() + WAIT_SECONDS
    while not (value := page.evaluate(expression)):
        if time.monotonic() > end:
            raise SystemExit(f"{expression} is not true after {WAIT_SECONDS} seconds.")
        page.wait_for_timeout(20)
    return value


def first_paint(browser: Browser, address: str) -> list[float]:
    """Milliseconds from the start of the navigation to the first text."""
    found = []
    for _ in range(PAINTS):
        page = opened(browser, address)
        page.goto(address.partition("?")[0])
        page.wait_for_selector(".tile .value")
        paint = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
        found.append(wait_for(page, paint))
        page.close()
    return found


def delays(page: Page, ledger: Ledger) -> list[float]:
    """Milliseconds from the end of the write until the page shows the state."""
    found = []
    for number in range(CHANGES):
        status = STAGES[number % len(STAGES)]
        row = number // len(STAGES)
        stage = {"submitted": "waiting"}.get(status, status)
        ledger.write(range(row, row + 1), status)
        written = time.time()
        card = f'.card[data-stage={stage}] bdi[title="bench/{row:05}.jpg"]'
        page.wait_for_selector(card, state="attached", timeout=10_000)
        found.append(1000 * (time.time() - written))
    return found


def live_cards(browser: Browser, page: Page, ledger: Ledger) -> tuple[list[float], float]:
    """The tasks over 50 ms while 200 cards appear and move through their stages, and the most CPU time of a task.

    Both are in milliseconds of the page's main thread. On a busy machine, only the CPU time tells about the page.
    """
    page.evaluate("longTasks.length = 0")
    browser.start_tracing(page=page, categories=["toplevel"])
    for status in STAGES:
        ledger.write(range(100, 100 + CARDS), status)
        page.wait_for_timeout(2500)
    shown = page.locator(".card").count()
    if shown < CARDS:
        raise SystemExit(f"Only {shown} cards are shown.")
    return page.evaluate("longTasks"), longest_task(json.loads(browser.stop_tracing())["traceEvents"])


def longest_task(events: list[dict[str, Any]]) -> float:
    """The most milliseconds of CPU time that a task of a page's main thread took."""
    names = (event for event in events if event.get("name") == "thread_name")
    main = {(one["pid"], one["tid"]) for one in names if one["args"]["name"] == "CrRendererMain"}
    tasks = (one for one in events if (one["pid"], one["tid"]) in main and one["name"].endswith("RunTask"))
    return max(one.get("tdur", 0) for one in tasks) / 1000


def ten_thousand(page: Page, ledger: Ledger) -> dict[str, Any]:
    """Search with 10,000 rows: time to the first row, frames while scrolling, memory, and number of elements."""
    for start in range(0, ROWS, 1000):
        ledger.write(range(1000 + start, 2000 + start), "enhanced")
    began = time.time()
    page.get_by_role("link", name="Search").click()
    wait_for(page, "document.querySelector('.row') !== null")
    first = time.time() - began
    wait_for(page, f"document.querySelector('[role=grid]')?.getAttribute('aria-rowcount') >= {ROWS}")
    found = time.time() - began
    page.evaluate("longTasks.length = 0")
    frames = page.evaluate(SCROLL)
    return {
        "seconds_to_first_row": first,
        "seconds_to_rows": found,
        "frame_ms": results.spread(frames),
        "longest_frame_ms": max(frames),
        "long_tasks": page.evaluate("longTasks"),
        "heap_megabytes": page.evaluate("performance.memory.usedJSHeapSize") / 1e6,
        "elements": page.evaluate("document.querySelectorAll('.row').length"),
    }


def reads_on_aws(browser: Browser, endpoint: str) -> dict[str, float]:
    """The calls per second that the board would send to AWS while its page is visible, and while it is not."""
    options = Options("lumendrop", endpoint, None, None, False)
    stack = replace(load_stack(SimpleNamespace(obj=options)), is_sandbox=False)  # type: ignore[arg-type]
    calls: list[float] = []
    with running_board(stack, options=options) as client:
        stack.on_call(lambda **_: calls.append(time.monotonic()))
        page = opened(browser, f"http://{client.host}/?token={TOKEN}")
        calls.clear()
        page.wait_for_timeout(1000 * READ_SECONDS)
        visible = len(calls) / READ_SECONDS
        page.close()
        time.sleep(2)
        calls.clear()
        time.sleep(READ_SECONDS / 3)
        return {"visible_per_second": visible, "hidden_per_second": len(calls) / (READ_SECONDS / 3)}


def main() -> None:
    os.environ.setdefault("AWS_ACCESS_KEY_ID", "test")
    os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "test")
    os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")
    chromium = os.environ.get("CHROMIUM", "/usr/bin/chromium")
    with sandbox({}) as running, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--enable-precise-memory-info"]
        )
        ledger = Ledger(running)
        with board_process(running.cloud.endpoint) as address:
            paints = first_paint(browser, address)
            page = opened(browser, address)
            figures: dict[str, Any] = {
                "first_paint_ms": results.spread(paints),
                "state_delay_ms": results.spread(found := delays(page, ledger)),
                "longest_state_delay_ms": max(found),
                "long_tasks_ms_with_200_cards": (tasks := live_cards(browser, page, ledger))[0],
                "longest_task_cpu_ms_with_200_cards": tasks[1],
                "ten_thousand_rows": ten_thousand(page, ledger),
            }
        figures["load_average"] = os.getloadavg()[0]
        figures["reads_on_aws"] = reads_on_aws(browser, running.cloud.endpoint)
        browser.close()
    results.write("board", "make bench-board", figures)
    _print(figures)


def _print(figures: dict[str, Any]) -> None:
    rows, reads = figures["ten_thousand_rows"], figures["reads_on_aws"]
    tasks = figures["long_tasks_ms_with_200_cards"]
    lines = {
        "first paint (ms, at most 500)": f"{figures['first_paint_ms']['median']:.0f}",
        "state visible after (ms, at most 1,000)": f"{figures['state_delay_ms']['median']:.0f}, "
        f"longest {figures['longest_state_delay_ms']:.0f}",
        "tasks over 50 ms with 200 live cards": f"{len(tasks)}, longest {max(tasks, default=0):.0f} ms; "
        f"most CPU time of a task {figures['longest_task_cpu_ms_with_200_cards']:.0f} ms",
        "10,000 rows: seconds until the first, and the last": f"{rows['seconds_to_first_row']:.1f}, "
        f"{rows['seconds_to_rows']:.1f}",
        "10,000 rows: frame while scrolling (ms)": f"{rows['frame_ms']['median']:.1f}, "
        f"longest {rows['longest_frame_ms']:.0f}",
        "10,000 rows: JavaScript heap (MB), rows as elements": f"{rows['heap_megabytes']:.0f}, {rows['elements']}",
        "reads per second on AWS, visible and hidden": f"{reads['visible_per_second']:.2f}, "
        f"{reads['hidden_per_second']:.2f}",
        "load average of the machine": f"{figures['load_average']:.1f}",
    }
    table = Table("The board", "measured")
    for name, value in lines.items():
        table.add_row(name, value)
    Console().print(table)


if __name__ == "__main__":
    main()
