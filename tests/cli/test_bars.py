"""The progress of photos on a terminal."""

import io

from rich.console import Console

from lumendrop_cli.bars import Bar, progress_bars


def test_without_a_terminal_nothing_is_shown() -> None:
    output = io.StringIO()
    with progress_bars(Console(file=output, width=40)) as show:
        show([Bar("a.jpg", 0.5, "enhancing 50 %")], 0, 1, "1 enhancing")
    assert output.getvalue() == ""


def test_on_a_terminal_each_active_photo_has_a_bar() -> None:
    output = io.StringIO()
    with progress_bars(Console(file=output, force_terminal=True, width=100, height=30)) as show:
        show([Bar("a [red]\x1b.jpg", 0.42, "enhancing 42 %")], 1, 2, "1 enhancing")
    for expected in ("a [red]\\x1b.jpg", "enhancing 42 %", "1 enhancing"):
        assert expected in output.getvalue()


def test_with_more_photos_than_rows_the_first_have_a_bar() -> None:
    output = io.StringIO()
    with progress_bars(Console(file=output, force_terminal=True, width=100, height=15)) as show:
        show([Bar(f"{number:03}.jpg", 0.1, "waiting") for number in range(100)], 0, 100, "")
    assert "009.jpg" in output.getvalue()
    assert "010.jpg" not in output.getvalue()
