"""The sandbox's command line: `python -m sandbox up`, `demo` and `status`."""

import argparse
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

DEFAULT_PORT = 4566
BAD_USAGE, INTERRUPTED = 2, 130

EXAMPLES = """examples:
  python -m sandbox demo                      see six photos go through, then open out/index.html
  python -m sandbox demo --photos ~/holiday   the same with your own
  python -m sandbox up                        keep it running, and use it with the AWS CLI
  python -m sandbox status a/photo.jpg        what became of a photo that was dropped into a running sandbox
"""
UP_EXAMPLES = """examples:
  python -m sandbox up
  python -m sandbox up --port 0       on any free port

In another terminal, with the names that it prints:
  export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_DEFAULT_REGION=us-east-1
  aws --endpoint-url http://127.0.0.1:4566 s3 cp photo.jpg s3://INPUT-BUCKET/
"""
DEMO_EXAMPLES = """examples:
  python -m sandbox demo
  python -m sandbox demo --photos ~/holiday --out ~/holiday-enhanced
  python -m sandbox demo --photos ~/holiday --resolution 1K

Exit status: 0 if every photo came back enhanced, 1 if not, 2 if it could not start.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    chosen = _parser().parse_args(arguments)
    # What `kill` sends ends a command in the same good order as Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return _run(chosen, Console(highlight=False))
    except KeyboardInterrupt:
        print("Stopped. Nothing is kept." if chosen.command == "up" else "Interrupted.", file=sys.stderr)
        return 0 if chosen.command == "up" else INTERRUPTED


def _run(chosen: argparse.Namespace, console: Console) -> int:
    # Imported here, so that --help and mistakes on the command line are answered at once.
    from sandbox.aws.cloud import CloudError
    from sandbox.aws.template import TemplateError
    from sandbox.demo import demo, status, up
    from sandbox.demo.photos import PhotosError
    from sandbox.demo.start import StartError

    try:
        if chosen.command == "up":
            up.run(chosen.port, console)
            return 0
        if chosen.command == "status":
            return status.run(chosen.key, chosen.port, console)
        return demo.run(chosen.photos, chosen.out, chosen.resolution, console)
    except (CloudError, PhotosError, StartError, TemplateError, status.StatusError) as error:
        print(f"sandbox: {error}", file=sys.stderr)
        return BAD_USAGE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sandbox",
        description="Lumendrop on one machine: the real template, functions and workflow, with AWS\n"
        "and the enhancer beside them. No account, no key, no Docker, no cost.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_up(commands.add_parser, "run the sandbox until Ctrl-C")
    _add_demo(commands.add_parser, "drop photos, and compare what comes back")
    _add_status(commands.add_parser, "say what the ledger knows of a photo")
    return parser


def _add_status(add: Callable[..., argparse.ArgumentParser], summary: str) -> None:
    status = add(
        "status",
        help=summary,
        description="Say what the ledger of a running sandbox knows of a photo: every version of it, newest first.\n"
        "Exit status: 0, 1 if the ledger does not know it, 2 if no sandbox runs.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    status.add_argument("key", metavar="KEY", help="the key it was dropped under, such as a/photo.jpg")
    _add_port(status, "where the sandbox's AWS listens (default: %(default)s)")


def _add_port(command: argparse.ArgumentParser, what: str) -> None:
    command.add_argument("--port", type=_port, default=DEFAULT_PORT, help=what)


def _add_up(add: Callable[..., argparse.ArgumentParser], summary: str) -> None:
    up = add(
        "up",
        help=summary,
        description="Run the sandbox until Ctrl-C. Says where to drop photos, and shows what becomes of\neach upload.",
        epilog=UP_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_port(up, "where AWS listens, 0 for any free port (default: %(default)s)")


def _add_demo(add: Callable[..., argparse.ArgumentParser], summary: str) -> None:
    demo = add(
        "demo",
        help=summary,
        description="Drop photos into the input bucket, follow them to the output bucket, and write a\n"
        "page that shows before and after.",
        epilog=DEMO_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    demo.add_argument(
        "--photos",
        type=_folder,
        metavar="DIR",
        help="your photos: every file below DIR except hidden ones (default: six that come with "
        "scikit-image, shrunk to 384 pixels)",
    )
    demo.add_argument(
        "--out",
        type=_folder,
        default=Path("out"),
        metavar="DIR",
        help="where results, reports and index.html go (default: %(default)s)",
    )
    demo.add_argument(
        "--resolution",
        choices=["1K", "4K"],
        help="long side of the results, 1,024 or 4,096 pixels (default: 4K as deployed; 1K for the six, "
        "which are too small for more)",
    )


def _folder(text: str) -> Path:
    # Not every shell expands the tilde of `make demo PHOTOS=~/holiday`.
    return Path(text).expanduser()


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; give a number from 0 to 65535")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
