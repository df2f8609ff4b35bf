"""Examples of each command, for `--help` and docs/commands.md."""

from __future__ import annotations

EXAMPLES: dict[str, tuple[str, ...]] = {
    "deploy": (
        "lumendrop deploy",
        "lumendrop deploy --parameter DailyTaskLimit=50 --parameter AlarmEmail=you@example.com",
        "lumendrop --stack lumendrop-prod deploy --config prod.toml --dry-run",
    ),
    "upgrade": ("lumendrop upgrade --dry-run", "lumendrop upgrade"),
    "doctor": ("lumendrop doctor", "lumendrop --stack lumendrop-prod --profile prod doctor"),
    "set-key": ("lumendrop set-key", "lumendrop set-key < key.txt"),
    "smoke": ("lumendrop smoke --clean", "lumendrop smoke photo.jpg --yes"),
    "verify": ("lumendrop verify", "lumendrop verify --yes --report report.json"),
    "board": ("lumendrop board", "lumendrop board --port 0 --read-only"),
    "enhance": (
        "lumendrop enhance holiday/ -o enhanced/",
        "lumendrop enhance holiday/ --dry-run",
        "lumendrop enhance inbox/ -o enhanced/ --watch",
        "lumendrop enhance a.jpg b.jpg --prefix friends/ --resolution 1K --no-wait",
    ),
    "list": (
        "lumendrop list --since 24h",
        "lumendrop list --status failed --status unknown --prefix holiday/",
        "lumendrop list --follow",
        "lumendrop list --limit 100000 --csv > uploads.csv",
    ),
    "status": ("lumendrop status a/photo.jpg", "lumendrop status --status failed --since 24h"),
    "spend": ("lumendrop spend", "lumendrop spend --by folder --since 2026-11-01 --csv > spend.csv"),
    "backfill": ("lumendrop backfill --prefix incoming/ --dry-run", "lumendrop backfill --prefix incoming/"),
    "redrive": ("lumendrop redrive",),
    "retry": (
        "lumendrop retry a/photo.jpg",
        "lumendrop retry --unknown --dry-run",
        "lumendrop retry --status failed --since 24h --prefix holiday/",
        "lumendrop retry a/photo.jpg --pay",
    ),
    "fetch": ("lumendrop fetch a/photo.jpg", "lumendrop fetch --status failed --since 24h"),
    "pause": ("lumendrop pause",),
    "resume": ("lumendrop resume",),
    "stop": ("lumendrop stop a/photo.jpg", "lumendrop stop --prefix holiday/ --dry-run", "lumendrop stop --all"),
    "destroy": ("lumendrop destroy --dry-run", "lumendrop destroy --delete-photos"),
}


def epilog(name: str, exit_codes: str) -> str:
    """The end of a command's help. Lines are separated as typer expects paragraphs."""
    examples = EXAMPLES.get(name, ())
    heading = ["Examples:"] if len(examples) > 1 else ["Example:"] if examples else []
    return "\n\n".join([*heading, *examples, exit_codes])
