"""`python -m tiergate` is the `tiergate` command."""

from tiergate.cli import main

main()
