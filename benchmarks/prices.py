"""The prices behind every cost figure, with the day they were checked."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

PRICES: dict[str, Any] = tomllib.loads(Path(__file__).with_name("prices.toml").read_text(encoding="utf-8"))
