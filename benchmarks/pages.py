"""Fills the figures of README.md, docs/benchmarks.md, and docs/limits.md: `make bench-pages`.

A page marks each place with a line `<!-- figures: <name> -->` and a line `<!-- end of figures -->` below it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks import limits
from benchmarks.prices import PRICES
from benchmarks.results import REPO, load

PAGES = ("README.md", "docs/benchmarks.md", "docs/limits.md")
_BLOCK = re.compile(r"(<!-- figures: ([a-z-]+) -->\n).*?(<!-- end of figures -->)", re.DOTALL)
Cells = Sequence[str]


def filled(page: str) -> str:
    """A page's text with its figures as the benchmarks' files have them now."""
    text = (REPO / page).read_text(encoding="utf-8")
    return _BLOCK.sub(lambda found: f"{found[1]}{BLOCKS[found[2]]().strip()}\n{found[3]}", text)


def table(columns: Cells, rows: Sequence[Cells]) -> str:
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def number(value: float, digits: int = 3) -> str:
    return f"{value:,.{digits}g}" if abs(value) < 1000 else f"{value:,.0f}"


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def top() -> str:
    """Goals and results, one row for each benchmark that has been run."""
    rows = [row for make in (_cold_start, _delivery, _polling, _cost, _burst, _sandbox, _enhancer) for row in make()]
    return table(["", "goal", "Lumendrop", "instead", "limit"], rows)


def price() -> str:
    """The README's sentence about money."""
    found = load("cost")
    aws = found["usd_per_1000"]["sum"] + found["data_transfer"]["usd_per_1000"]
    vendor, month = PRICES["vendor"]["photo"], sum(found["usd_per_month"].values())
    return (
        f"A photo costs about {number(vendor)} USD at the vendor and {number(aws / 1000, 1)} USD on AWS. "
        f"The stack itself costs {number(month)} USD a month."
    )


def headline() -> str:
    """The README's four lines of figures."""
    return "\n".join(f"- {line()}." for line in (_cost_line, _polling_line, _cold_start_line, _burst_line))


def _cost_line() -> str:
    found = load("cost")
    aws, transfer = number(found["usd_per_1000"]["sum"]), number(found["data_transfer"]["usd_per_1000"])
    vendor = number(found["vendor_usd_per_1000"])
    return f"**Cost** of 1,000 photos: AWS {aws} USD and {transfer} USD for data transfer, vendor {vendor} USD"


def _polling_line() -> str:
    found = load("polling")
    ours, ten = found["ours"]["mean"], found["peers"]["every 10 s"]["mean"]
    delays = [number(one["short_delay_seconds"]) for one in (ours, ten)]
    prices = [number(one["usd_per_1000"]) for one in (ours, ten)]
    return (
        f"**Polling** costs {prices[0]} USD per 1,000 tasks and detects the end of a task under two minutes "
        f"after {delays[0]} s; every 10 s, it would be {prices[1]} USD and {delays[1]} s"
    )


def _cold_start_line() -> str:
    found = load("cold-start")["contenders"]
    submit, usual = (number(found[name]["of_floor"]["median"]) for name in ("submit", "submit, the usual way"))
    floor = "the CPU time of boto3 and requests alone"
    return f"**Cold start** of `submit`: {submit} times {floor}; a usual implementation takes {usual} times"


def _burst_line() -> str:
    found = load("burst")
    limited = [one for one in found["simulated"] if one["limited"]]
    largest = max(one["uploads"] for one in limited)
    worst = number(max(one["drain_of_limit"] for one in limited if one["uploads"] == largest))
    run = found["sandbox"]
    sandbox = f"{run['photos']:,} photos create {run['tasks']:,} tasks in the sandbox"
    burst = f"{largest:,} simulated uploads take at most {worst} times the minimum of a vendor with a limit"
    return f"**Burst**: {sandbox}; {burst}"


def scale() -> str:
    """How far the stack scales, for docs/limits.md."""
    return limits.scale_table()


def _cold_start() -> list[Cells]:
    found = (load("cold-start") or {}).get("contenders", {})
    return [
        [
            f"cold start of `{name}`, times the floor",
            "≤ 1.15",
            number(found[name]["of_floor"]["median"]),
            f"{number(found[f'{name}, the usual way']['of_floor']['median'])} (the usual way)",
            "1 (boto3 and requests alone)",
        ]
        for name in ("submit", "check_status", "deliver")
        if name in found
    ]


def _delivery() -> list[Cells]:
    sizes = (load("delivery") or {}).get("sizes", {})
    size = "10 MB"
    if size not in sizes:
        return []
    one = {name: contender["of_floor"]["median"] for name, contender in sizes[size].items() if "of_floor" in contender}
    plain = "deliver, without metadata"
    others = [f"{number(one[name])} ({name})" for name in [name for name in one if name != plain][1:4]]
    rows = [[f"delivery of {size}, times the floor", "≤ 1.15", number(one["deliver"]), ", ".join(others), "1"]]
    ratio = number(sizes[size]["deliver"]["of_plain"]["median"])
    return [*rows, [f"delivery of {size} with metadata, times without", "≤ 1.05", ratio, "", "1"]]


def _polling() -> list[Cells]:
    found = load("polling")
    if not found:
        return []
    ours, limit = found["ours"]["mean"], found["ideal"]["mean"]
    ten = found["peers"]["every 10 s"]["mean"]
    return [
        [
            "polling, USD per 1,000 tasks",
            f"below {number(found['peers_at_our_delay_usd_per_1000'])}, the price of this delay with the alternatives",
            number(ours["usd_per_1000"]),
            f"{number(ten['usd_per_1000'])} (every 10 s)",
            f"{number(limit['usd_per_1000'])} (ideal)",
        ],
        [
            "delay until the end of a task is detected, tasks under two minutes: mean, p95",
            "≤ 2 s, ≤ 6 s",
            f"{number(ours['short_delay_seconds'])} s, {number(ours['short_delay_p95_seconds'])} s",
            f"{number(ten['short_delay_seconds'])} s, {number(ten['short_delay_p95_seconds'])} s (every 10 s)",
            f"{number(limit['short_delay_seconds'])} s",
        ],
    ]


def _cost() -> list[Cells]:
    found = load("cost")
    if not found:
        return []
    peers = found["peers"]
    ten = peers["a loop that polls every 10 s"]["usd_per_1000"]
    return [
        [
            "AWS cost of 1,000 photos, tasks of 45 s",
            "≤ 0.30 USD",
            f"{number(found['usd_per_1000']['sum'])} USD",
            f"{number(ten)} USD (a poll every 10 s)",
            f"{number(found['vendor_usd_per_1000'])} USD for the vendor",
        ]
    ]


def _burst() -> list[Cells]:
    found = [one for one in (load("burst") or {}).get("simulated", []) if one["limited"]]
    rows = []
    for uploads in sorted({one["uploads"] for one in found}):
        ones = [one for one in found if one["uploads"] == uploads]
        drain = [number(pick(one["drain_of_limit"] for one in ones)) for pick in (min, max)]
        wasted = [percent(pick(one["wasted_share"] for one in ones)) for pick in (min, max)]
        of = f"{len(ones)} kinds of vendor limits, best and worst"
        name = f"{uploads:,} uploads at once, {of}: time to submit, wasted calls"
        ours = f"{' to '.join(drain)}, {' to '.join(wasted)}"
        rows.append([name, "≤ 1.1, ≤ 2 %", ours, "", "1 (the vendor's limit), 0 %"])
    return rows


def _sandbox() -> list[Cells]:
    run = (load("burst") or {}).get("sandbox")
    if not run:
        return []
    once = f"{run['tasks']:,} tasks for {run['photos']:,} photos"
    return [
        ["1,000 photos through the sandbox", "exactly once", once, "", f"{number(run['photos_per_minute'])} a minute"]
    ]


def _enhancer() -> list[Cells]:
    found = load("enhancer")
    if not found:
        return []
    quality = {name: one["psnr_db"] for name, one in found["quality"].items()}
    ours = quality.pop("the sandbox's enhancer")
    others = ", ".join(f"{value:.2f} dB ({name})" for name, value in quality.items())
    return [["the sandbox's enhancer, PSNR", "the best of the three", f"{ours:.2f} dB", others, ""]]


def cold_start() -> str:
    columns = ["", "ms to the first `next`", "ms of CPU", "CPU, times the floor", "peak MB"]
    keys = ("milliseconds", "cpu_milliseconds", "of_floor", "peak_megabytes")
    found = load("cold-start")["contenders"]
    return table(columns, [[name, *(number(one[key]["median"]) for key in keys)] for name, one in found.items()])


def delivery() -> str:
    sizes = load("delivery")["sizes"]
    largest = list(sizes)[-1]
    keys = ("cpu_seconds", "servers_cpu_seconds", "peak_megabytes")
    columns = [
        "seconds (times the floor)",
        *sizes,
        f"CPU s, {largest}",
        f"servers' CPU s, {largest}",
        f"peak MB, {largest}",
    ]
    rows = [
        [
            name,
            *(f"{_median(sizes[size][name], 'seconds')} ({_median(sizes[size][name], 'of_floor')})" for size in sizes),
            *(_median(sizes[largest][name], key) for key in keys),
        ]
        for name in sizes[largest]
    ]
    return table(columns, rows)


def _median(figures: dict[str, dict[str, float]], key: str) -> str:
    return number(figures[key]["median"])


def enhancer() -> str:
    found = load("enhancer")
    keys = ("seconds", "megapixels_per_second", "peak_megabytes")
    rows = [
        [resolution, name, *(number(one[key]["median"]) for key in keys)]
        for resolution, contenders in found["speed"].items()
        for name, one in contenders.items()
    ]
    quality = [
        [name, f"{one['psnr_db']:.2f}", f"{one['ssim']:.4f}", f"{one['best_psnr']} of {one['of']}"]
        for name, one in found["quality"].items()
    ]
    fast = table(["result", "", "seconds", "megapixels a second", "peak MB"], rows)
    return f"{fast}\n\n{table(['', 'PSNR, dB', 'SSIM', 'best PSNR'], quality)}"


def polling() -> str:
    found = load("polling")
    everybody = {"Lumendrop": found["ours"], **found["peers"], "ideal": found["ideal"]}
    columns = ["", "USD per 1,000", "delay, s", "delay under two minutes, s", "p95, s", "polls", "function seconds"]
    rows = [[name, *(number(value) for value in one["mean"].values())] for name, one in everybody.items()]
    distributions = [[name, *(number(value) for value in row.values())] for name, row in found["ours"].items()]
    return f"{table(columns, rows)}\n\nLumendrop by distribution:\n\n{table(columns, distributions)}"


def split() -> str:
    found = load("polling")["split"]
    rows = [[name, number(row["usd_per_1000"]), number(row["short_delay_seconds"])] for name, row in found.items()]
    return table(["seconds of polling in one invocation", "USD per 1,000", "delay, s"], rows)


def cost() -> str:
    found = load("cost")
    total = found["usd_per_1000"]["sum"]
    rows = [[name, number(usd), percent(usd / total)] for name, usd in found["usd_per_1000"].items()]
    return table(["", "USD per 1,000 photos", "share"], rows)


def instead() -> str:
    found = load("cost")
    rows = [["Lumendrop", number(found["usd_per_1000"]["sum"]), ""]]
    rows += [[name, number(one["usd_per_1000"]), one["gives_up"]] for name, one in found["peers"].items()]
    return table(["", "USD per 1,000 photos", "what it gives up"], rows)


def measured() -> str:
    found = load("cost")["measured"]
    columns = ["function", "memory, MB", "invocations", "seconds", "CPU seconds", "peak memory, MiB"]
    keys = ("memory_mb", "invocations", "seconds", "cpu_seconds", "peak_mib")
    rows = [[name, *(number(one[key]) for key in keys)] for name, one in found["functions"].items()]
    requests = ", ".join(f"`{action}` {number(count)}" for action, count in found["requests"].items())
    transitions, units, logged = (number(found[key]) for key in ("transitions", "dynamodb_write_units", "log_bytes"))
    per_photo = (
        f"Per photo: {transitions} state transitions, {units} DynamoDB write units, {logged} bytes logged, requests: "
        f"{requests}."
    )
    return f"{table(columns, rows)}\n\n{per_photo}"


def sweep() -> str:
    """Duration and cost of each function by memory, from its measured waiting time and CPU time."""
    found, prices = load("cost"), PRICES["lambda"]
    sizes = (128, 256, 512, 1024, prices["full_cpu_mb"])
    waits = {"submit": found["assumed"]["submit_seconds"]}
    rows = []
    for name, one in found["measured"]["functions"].items():
        cells = []
        for size in sizes:
            stretched = one["cpu_seconds"] * (prices["full_cpu_mb"] / size - 1)
            seconds = one["seconds"] + stretched + waits.get(name, 0)
            usd = 1000 * seconds * size / 1024 * prices["gb_second"]
            cells.append(f"{number(seconds)} s, {number(usd, 2)}")
        rows.append([f"{name} (has {one['memory_mb']} MB)", *cells])
    return table(["seconds, USD per 1,000", *(f"{size} MB" for size in sizes)], rows)


def formula() -> str:
    """The bill for any number of photos."""
    found = load("cost")
    transfer, month = found["data_transfer"], found["usd_per_month"]
    vendor, total = found["vendor_usd_per_1000"], found["usd_per_1000"]["sum"]
    monthly = ", ".join(f"{name} {number(usd)}" for name, usd in month.items())
    return (
        f"USD = photos / 1,000 * ({number(total)} + data transfer + {number(vendor)} for the vendor) "
        f"+ {number(sum(month.values()))} a month ({monthly})\n\n"
        "Data transfer: the vendor fetches the photo over the internet, "
        f"{number(transfer['usd_per_1000'])} USD per 1,000 photos of {number(transfer['photo_mb'])} MB; "
        "the result comes in for free. "
        f"AWS costs {percent((total + transfer['usd_per_1000']) / vendor)} of the vendor's price."
    )


def burst() -> str:
    found = {(one["scenario"], one["uploads"]): one for one in (load("burst") or {}).get("simulated", [])}
    scenarios, sizes = ({key[part]: None for key in found} for part in (0, 1))
    runs = {size: next(one["runs"] for one in found.values() if one["uploads"] == size) for size in sizes}
    columns = ["vendor", *(f"{size:,} uploads, {runs[size]} {'run' if runs[size] == 1 else 'runs'}" for size in sizes)]
    return table(columns, [[name, *(_burst_cell(found[name, size]) for size in sizes)] for name in scenarios])


def _burst_cell(one: dict[str, Any]) -> str:
    time, wasted = number(one["drain_of_limit"]), percent(one["wasted_share"])
    if one["runs"] == 1:
        return f"{time}; {wasted}"
    return f"{time} ({number(one['worst_drain_of_limit'])}); {wasted} ({percent(one['worst_wasted_share'])})"


def sandbox() -> str:
    run = (load("burst") or {}).get("sandbox")
    return table(["", ""], [[name.replace("_", " "), number(value, 4)] for name, value in run.items()]) if run else ""


BLOCKS: dict[str, Callable[[], str]] = {
    "price": price,
    "headline": headline,
    "scale": scale,
    "top": top,
    "cold-start": cold_start,
    "delivery": delivery,
    "enhancer": enhancer,
    "polling": polling,
    "split": split,
    "cost": cost,
    "instead": instead,
    "measured": measured,
    "formula": formula,
    "sweep": sweep,
    "burst": burst,
    "sandbox": sandbox,
}


def main() -> None:
    for page in PAGES:
        (REPO / page).write_text(filled(page), encoding="utf-8")
    sys.stdout.write(f"Filled {', '.join(PAGES)}.\n")


if __name__ == "__main__":
    main()
