"""The sandbox's command line: `python -m sandbox up` and `demo`."""

import signal

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until `main` handles Ctrl-C, because Python prints a traceback

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

DEFAULT_PORT = 4566
BAD_USAGE, INTERRUPTED = 2, 130

EXAMPLES = """examples:
  python -m sandbox demo                      process six sample photos, then open out/index.html
  python -m sandbox demo --photos ~/holiday   process your own photos
  python -m sandbox up                        run the stack for the AWS CLI and `lumendrop`
"""
UP_EXAMPLES = """examples:
  python -m sandbox up
  python -m sandbox up --port 0       on any free port

In another terminal, with the bucket names that the command prints:
  export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_DEFAULT_REGION=us-east-1
  aws --endpoint-url http://127.0.0.1:4566 s3 cp photo.jpg s3://INPUT-BUCKET/
"""
DEMO_EXAMPLES = """examples:
  python -m sandbox demo
  python -m sandbox demo --photos ~/holiday --out ~/holiday-enhanced
  python -m sandbox demo --photos ~/holiday --resolution 1K

Exit status: 0 if every file has a result (an enhanced photo, or a report why there is none), 1 if not, 2 if the
sandbox could not start.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    chosen = _parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="backslashreplace")  # a terminal without UTF-8 must not end the command
    try:
        # SIGTERM ends a command as cleanly as Ctrl-C.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        # A shell makes background jobs ignore Ctrl-C's signal.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        return _run(chosen)
    except KeyboardInterrupt:
        print("Stopped. Nothing is kept." if chosen.command == "up" else "Interrupted.", file=sys.stderr)
        return 0 if chosen.command == "up" else INTERRUPTED


def _run(chosen: argparse.Namespace) -> int:
    # Imported here, so that --help and usage errors take no time.
    from rich.console import Console

    from lumendrop_cli.text import clean
    from sandbox.aws.cloud import CloudError
    from sandbox.aws.template import TemplateError
    from sandbox.demo import demo, up
    from sandbox.demo.images import PhotosError
    from sandbox.demo.start import StartError

    console = Console(highlight=False)
    try:
        if chosen.command == "up":
            up.run(chosen.port, chosen.verbose, console)
            return 0
        return demo.run(chosen.photos, chosen.out, chosen.resolution, console)
    except (CloudError, PhotosError, StartError, TemplateError) as error:
        print("\n".join(clean(line) for line in f"sandbox: {error}".splitlines()), file=sys.stderr)
        return BAD_USAGE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sandbox",
        description="Lumendrop on one machine: the real template, functions, and workflow, with a\n"
        "simulated AWS and enhancer. No account, no key, no Docker, no cost.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_up(commands.add_parser, "run the sandbox until Ctrl-C")
    _add_demo(commands.add_parser, "process photos and compare the results")
    return parser


def _add_up(add: Callable[..., argparse.ArgumentParser], summary: str) -> None:
    up = add(
        "up",
        help=summary,
        description="Run the sandbox until Ctrl-C. Prints the endpoint and the buckets, and the state of each upload.",
        epilog=UP_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    up.add_argument(
        "--port",
        type=_port,
        default=DEFAULT_PORT,
        help="the port of the AWS endpoint, 0 for any free port (default: %(default)s)",
    )
    up.add_argument("--verbose", action="store_true", help="also print what the sandbox does not simulate")


def _add_demo(add: Callable[..., argparse.ArgumentParser], summary: str) -> None:
    demo = add(
        "demo",
        help=summary,
        description="Upload photos to the input bucket, follow them to the output bucket, and write a\n"
        "page that shows before and after.",
        epilog=DEMO_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    demo.add_argument(
        "--photos",
        type=_folder,
        metavar="DIR",
        help="your photos: every file below DIR except hidden ones (default: six sample photos)",
    )
    demo.add_argument(
        "--out",
        type=_folder,
        default=Path("out"),
        metavar="DIR",
        help="the folder for results, reports, and index.html (default: %(default)s)",
    )
    demo.add_argument(
        "--resolution",
        choices=["1K", "4K"],
        help="long side of the results, 1,024 or 4,096 pixels (default: 4K as deployed; 1K for the sample photos)",
    )


def _folder(text: str) -> Path:
    # Not every shell expands the tilde of `make demo PHOTOS=~/holiday`.
    return Path(text).expanduser()


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; use a number from 0 to 65535")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
