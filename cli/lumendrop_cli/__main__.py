"""`python -m lumendrop_cli`, the same as `lumendrop`."""

from lumendrop_cli.main import app

app(prog_name="lumendrop")
