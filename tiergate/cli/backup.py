"""Backups of the state, and the way back to one."""

from __future__ import annotations

from pathlib import Path

import click

from tiergate.cli.common import FAILED, NOT_READY, config_option, load_settings, refuse, shown, warn

GUIDE = "docs/guides/backup.md"
OF_A_SERVER = (
    "the process layer's database is on PostgreSQL, which backs it up: take a base backup and archive its log, or run"
    f" pg_dump ({GUIDE}). What this machine has beside it goes into a backup with --files-only: take that first"
)
ERASE_AGAIN = "before you start the layers, run `tiergate person repeat --yes`"


@click.command()
@click.argument("target", type=click.Path(path_type=Path))
@config_option
@click.option("--files-only", is_flag=True, help="Leave the process layer's database to its server (PostgreSQL).")
def backup(target: Path, config: Path, *, files_only: bool) -> None:
    """Back up the databases and the state of this machine into the new folder TARGET, while the layers run."""
    from canonical.ids import utc_now
    from tiergate.backup import BackupError, back_up, database_file, state_paths

    settings = load_settings(config)
    if database_file(settings) is None and not files_only:
        refuse([OF_A_SERVER], NOT_READY)
    if database_file(settings) is not None and files_only:
        refuse(["the process layer's database is a file of the state: leave out --files-only"])
    try:
        made = back_up(settings, target, utc_now())
    except BackupError as error:
        refuse([str(error)], FAILED)
    click.echo(f"backed up: {len(made.files)} files, {made.size:,} bytes, in {shown(target)}")
    for setting, path in state_paths(settings).elsewhere.items():
        warn([f"{path} ({setting}) is kept apart, and is not in it"])


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@config_option
@click.option("--move-aside", is_flag=True, help="Keep the present work in a folder beside, instead of refusing.")
@click.option("--check", "only_check", is_flag=True, help="Only say whether the backup is whole.")
def restore(folder: Path, config: Path, *, move_aside: bool, only_check: bool) -> None:
    """Put the backup in FOLDER back, while no layer runs on this machine."""
    from canonical.ids import utc_now
    from tiergate.backup import BackupError, check, restore

    try:
        if only_check:
            made = check(folder)
            click.echo(f"whole: {len(made.files)} files, {made.size:,} bytes, of {made.made_at:%Y-%m-%d %H:%M:%S} UTC")
            return
        done = restore(load_settings(config), folder, utc_now(), move_aside=move_aside)
    except BackupError as error:
        refuse([str(error)], FAILED)
    click.echo(f"restored to {done.manifest.made_at:%Y-%m-%d %H:%M:%S} UTC: {', '.join(done.put_back)}")
    if done.stayed:
        click.echo(f"stayed as it is here: {', '.join(done.stayed)}")
    if done.aside:
        click.echo(f"what was here before: {shown(done.aside)}")
    if done.erased:
        warn([f"people who were erased ({done.erased}) may be there again: {ERASE_AGAIN}"])
    click.echo("start the layers: they read from the platforms what came after it, and find what was made there")
