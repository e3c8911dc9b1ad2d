"""`python -m tiergate` is the `tiergate` command."""

from tiergate.cli.main import main

main()
