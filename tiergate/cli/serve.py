"""Serving the layers."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tiergate.cli.common import LAYERS, config_option, load_settings, platforms_of

if TYPE_CHECKING:
    from policies.catalogue.model import Layer


@click.command()
@click.argument("layer", type=LAYERS)
@config_option
@click.option("--until-input-ends", is_flag=True, help="Stop when standard input ends: with the one who started it.")
def serve(layer: Layer, config: Path, *, until_input_ends: bool) -> None:
    """Serve one layer until it is asked to stop."""
    from tiergate.server.ports import require_ports
    from tiergate.state_in_use import used_by_layer

    settings = load_settings(config)
    require_ports(settings.server, [layer])  # before all that takes time
    gc.disable()  # until it serves: what is made before that stays
    try:
        from tiergate.server.server import serve as run

        with used_by_layer(settings.state):
            platforms = platforms_of(settings) if layer == "system" else {}
            run(layer, settings, platforms, until_input_ends=until_input_ends)
    finally:
        gc.enable()


@click.command()
@config_option
def up(config: Path) -> None:
    """Serve all three layers on this machine until Ctrl-C."""
    from tiergate.server.ports import require_ports

    settings = load_settings(config)
    require_ports(settings.server, LAYERS.choices)
    from tiergate.composition import records
    from tiergate.dev.layers import run_layers

    platforms_of(settings)
    records(settings).dispose()
    run_layers(settings, config)
