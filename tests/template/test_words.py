"""Replaced names and phrases do not return, neither in code nor in prose. The change log is history and exempt."""

from __future__ import annotations

import ast
import io
import os
import re
import shutil
import subprocess
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.template.reading import ROOT

ENGINE = ("functions/", "layers/")
CLI = ("cli/",)
CHAOS = ("tests/chaos/",)
SANDBOX = ("sandbox/",)
TESTS = ("tests/", "benchmarks/")

# Names that are common words, and so are wrong only in these places and only where they are defined.
FUNCTIONS_AND_CLASSES = {
    ENGINE: {
        "take": "handle_message",
        "bring": "process_upload",
        "settle": "resolve_existing",
        "park": "mark_unknown",
        "pay": "create_task",
        "look": "inspect, poll_once",
        "current": "resolve_version",
        "find": "find_delivered",
        "facts": "provenance",
        "following": "log_context",
        "learn": "update_estimate",
        "trouble": "open_reason",
        "turn": "acquire",
        "holds": "is_still_valid",
        "booked": "reserve",
        "Written": "DeliveredObject",
        "Pace": "RateLimiter",
        "Breaker": "CircuitBreaker",
        "Listed": "BackfillItem",
        "Verified": "VerifiedTLSAdapter",
        "_words": "_error_text",
        "_clean": "_sanitize",
    },
    ("layers/lumendrop/rate_limiter.py",): {
        "sent": "on_send",
        "taken": "on_accepted",
        "refused": "on_throttled",
        "Row": "RateStore",
    },
    CLI: {
        "Trouble": "CliError",
        "Sight": "UploadStatus",
        "Watch": "StatusReader",
        "until": "poll_until",
        "where": "scan",
    },
    SANDBOX: {
        "Sight": "UploadStatus",
        "Watch": "StatusReader",
        "bridged": "moto_patches.apply",
        "_halved": "_extend",
        "_lacking": "_provide",
    },
    TESTS: {
        "take": "handle_message",
        "pay": "create_task",
        "settle": "resolve_existing",
        "bring": "process_upload",
    },
}
EVERYTHING = {
    ENGINE: {
        "passing": "transient",
        "over": "previous",
        "ours": "acquired",
        "CLOSED": "ledger.FINAL",
        "STEPS": "TRANSITIONS",
        "waits": "requeue_count",
        "there": "existing",
        "gap": "interval",
        "in_a_row": "consecutive_refusals",
        "_BROKEN": "_TRANSPORT_ERRORS",
    },
    CLI: {
        "told": "summary",
        "said": "message",
    },
    TESTS: {
        "told": "notified",
        "said": "text",
        "STEPS": "TRANSITIONS",
    },
    CHAOS: {
        "weather": "fault_plan",
        "storm": "random_faults",
        "rivals": "concurrent_overwrites",
        "relapses": "repeated_failures",
    },
}

# Names that mean nothing else: wrong wherever they are written.
WRITTEN = {
    "submit_in_time": "submit_with_backoff",
    "NotNow": "Deferred",
    "has_last_word": "is_final",
    "close_claim": "finish_claim",
    "is_to_be_sent_again": "may_resubmit",
    "send_to_back": "requeue",
    "_told_apart": "_disambiguate",
    "in_a_row": "consecutive_refusals",
    "LedgerRow": "DynamoDBRateStore",
    "crowded": "lambda_throttled",
    "WhatStarted": "RouteInput",
    "HowItEnded": "ClassifyOutcome",
    "Untold": "EventNotPublished",
    "EndedRule": "ExecutionFailureRule",
    "ReadEnded": "LoadFailedExecution",
    "CloseEnded": "MarkEndedEarly",
    "moto_gaps": "moto_patches",
    "ledger.STEPS": "ledger.TRANSITIONS",
    "pace.Row": "rate_limiter.RateStore",
    "Breaker.trouble": "CircuitBreaker.open_reason",
    "storage.look": "storage.inspect",
}

FILES = {
    "test_ways.py": "test_paths.py",
    "test_again.py": "test_retry.py",
    "pace.py": "rate_limiter.py",
    "breaker.py": "circuit_breaker.py",
    "moto_gaps.py": "moto_patches/",
    "weather.py": "fault_plan.py",
    "trouble.py": "errors.py",
}

# A space stands for any break between words, also one between lines of a comment.
PHRASES = {
    "told": "notified, reported",
    "said": "notified, reported",
    "a look": "a poll",
    "looks whether": "checks that",
    "go on": "continue, resume",
    "goes on": "continues, resumes",
    "going on": "continuing",
    "mend": "fix",
    "mended": "fixed",
    "mends": "fixes",
    "beside": "next to, besides",
    "last word": "final status",
    "way of a photo": "photo's lifecycle",
    "photo's way": "photo's lifecycle",
    "lay there before": "existing objects",
    "lay in the bucket before": "existing objects",
    "were there before": "existing objects",
    "in vain": "rejected, wasted",
    "is brought": "is processed",
    "so many at a time": "concurrency",
    "clairvoyant": "ideal",
}

# The change log is history, and the comparison with the template before a rename names both sides.
EXEMPT = {
    "CHANGELOG.md",
    "tests/template/compare.py",
    "tests/template/test_compare.py",
    Path(__file__).relative_to(ROOT).as_posix(),
}
PROSE = {"COMMENT", "STRING", "FSTRING_MIDDLE"}


# What Git ignores, for copies without Git; see .gitignore.
IGNORED = re.compile(r"\.venv.*|\.aws-sam|\..*_cache|\.hypothesis|__pycache__|out|\.git")


def _tracked() -> list[str]:
    return [path for path in _files(ROOT) if path not in EXEMPT and (ROOT / path).is_file()]


def _files(root: Path) -> list[str]:
    """The files that Git tracks. Without Git, such as in an archive of a release, all files."""
    if (root / ".git").exists() and shutil.which("git"):
        command = ["git", "ls-files", "-z"]
        listed = subprocess.run(command, cwd=root, check=False, capture_output=True, encoding="utf-8")
        if listed.returncode == 0:
            return [path for path in listed.stdout.split("\0") if path]
    found: list[str] = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not IGNORED.fullmatch(name)]
        paths = (Path(folder, name).relative_to(root) for name in names if name != ".git")
        found += [path.as_posix() for path in paths if path.suffix != ".pyc"]
    return sorted(found)


def _texts() -> Iterator[tuple[str, str]]:
    """Path and text of each tracked file that is neither a lock file nor a picture."""
    for path in _tracked():
        if not path.startswith("requirements/") and path != "layers/requirements.txt":
            data = (ROOT / path).read_bytes()
            if b"\0" not in data:
                yield path, data.decode()


def functions_and_classes(source: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name


def everything(source: str) -> Iterator[tuple[int, str]]:
    """Also arguments, variables, and fields."""
    yield from functions_and_classes(source)
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.arg():
                yield node.lineno, node.arg
            case ast.Name(ctx=ast.Store()):
                yield node.lineno, node.id
            case ast.Attribute(ctx=ast.Store()):
                yield node.lineno, node.attr
            case _:
                pass


def old_definitions(path: str, source: str) -> list[str]:
    found = []
    for tables, defined in ((FUNCTIONS_AND_CLASSES, functions_and_classes), (EVERYTHING, everything)):
        names = {old: new for places, table in tables.items() if path.startswith(places) for old, new in table.items()}
        found += [f"{path}:{line}: {name}: use {names[name]}" for line, name in defined(source) if name in names]
    return found


def old_names(path: str, text: str) -> list[str]:
    return _found(path, text, {rf"(?<![\w.]){re.escape(old)}(?!\w)": (old, new) for old, new in WRITTEN.items()})


def prose(path: str, text: str) -> str:
    """The prose of a file at its own lines: comments and strings of Python, everything of other files."""
    if not path.endswith(".py"):
        return text
    lines: defaultdict[int, str] = defaultdict(str)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if tokenize.tok_name[token.type] in PROSE:
            for offset, line in enumerate(token.string.split("\n")):
                lines[token.start[0] + offset] += f" {line}"
    return "\n".join(lines[number] for number in range(1, max(lines, default=0) + 1))


def old_phrases(path: str, text: str) -> list[str]:
    patterns = {
        r"(?i)(?<![\w-])" + old.replace(" ", r"[\s#\"']+") + r"(?![\w-])": (old, new) for old, new in PHRASES.items()
    }
    return _found(path, prose(path, text), patterns)


def _found(path: str, text: str, patterns: dict[str, tuple[str, str]]) -> list[str]:
    return [
        f"{path}:{text.count(chr(10), 0, match.start()) + 1}: {old}: use {new}"
        for pattern, (old, new) in patterns.items()
        for match in re.finditer(pattern, text)
    ]


def test_no_file_has_an_old_name() -> None:
    assert [path for path in _tracked() if Path(path).name in FILES] == []


def test_no_code_defines_an_old_name() -> None:
    assert [one for path, text in _texts() if path.endswith(".py") for one in old_definitions(path, text)] == []


def test_no_text_has_an_old_name() -> None:
    assert [one for path, text in _texts() for one in old_names(path, text)] == []


def test_no_prose_has_an_old_phrase() -> None:
    assert [one for path, text in _texts() for one in old_phrases(path, text)] == []


def test_the_files_are_the_same_without_git(tmp_path: Path) -> None:
    for path in ("a/b.py", "out/c", "sandbox/__pycache__/d.pyc", ".venv/e", ".gitignore"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    assert _files(tmp_path) == [".gitignore", "a/b.py"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", os.devnull)
        assert set(_files(ROOT)) >= {".gitignore", "template.yaml", "tests/template/test_words.py"}


# Each check can fail.

FUNCTION_FORMS = ("def {}(): ...", "class {}: ...", "class C:\n async def {}(self): ...")
OTHER_FORMS = ("def f({}): ...", "{} = 1", "self.{} = 1", "for {} in x: ...", "class C:\n {}: int")
CASES = [
    (places[0], old, form)
    for tables, forms in ((FUNCTIONS_AND_CLASSES, FUNCTION_FORMS), (EVERYTHING, FUNCTION_FORMS + OTHER_FORMS))
    for places, table in tables.items()
    for old in table
    for form in forms
]


def test_an_old_definition_is_found_in_its_place_only() -> None:
    for place, old, form in CASES:
        path = place if place.endswith(".py") else f"{place}x/app.py"
        assert old_definitions(path, form.format(old)), (path, old, form)
        assert old_definitions("docs/app.py", form.format(old)) == []


def test_a_use_of_another_object_is_no_definition() -> None:
    assert old_definitions("layers/x.py", "'a'.find('b')\nbook.sent(x, current=1)\nturn = 1") == []


@pytest.mark.parametrize("old", WRITTEN)
def test_an_old_name_is_found(old: str) -> None:
    assert old_names("template.yaml", f"Next: {old}\n")
    assert old_names("template.yaml", f"Next: {old}Alarm\n") == []


@pytest.mark.parametrize("old", PHRASES)
def test_an_old_phrase_is_found_across_lines(old: str) -> None:
    split = old.replace(" ", "\n# ")
    assert old_phrases("a.md", f"It {old} here.")
    assert old_phrases("a.py", f"x = 1\n# it {split} here\n")
    assert old_phrases("a.py", f'x = f"{{x}} {old}"\n')
    assert old_phrases("a.py", f"{old.replace(' ', '_')} = 1\n") == []
