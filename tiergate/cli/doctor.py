"""What is set up, reachable or missing."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from tiergate.cli.common import NOT_READY, config_option


@click.command()
@config_option
def doctor(config: Path) -> None:
    """Say what is set up, reachable or missing, and what to do about it."""
    from tiergate.doctor import examine

    sys.exit(0 if examine(config) else NOT_READY)
