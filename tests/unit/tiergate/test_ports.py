"""A port that another has is named, with the setting or the address that is used instead."""

from __future__ import annotations

import os
import socket
from collections.abc import Generator
from pathlib import Path

import msgspec
import pytest

from tests.end_to_end.command_line.test_command_line import run
from tests.integration.tiergate.test_database_command import SECRETS
from tiergate.dev import ports
from tiergate.dev.ports import USUAL, Ports, choose_ports, displaced, free_port, lock_file
from tiergate.server.ports import require_ports
from tiergate.settings import NotReady, Server

EXAMPLE = "deploy/tiergate.example.toml"


@pytest.fixture
def taken() -> Generator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@pytest.mark.parametrize("command", [("up",), ("serve", "system"), ("serve", "process"), ("serve", "experience")])
def test_a_port_in_use_is_named_with_its_setting_before_anything_starts(
    taken: int, tmp_path: Path, command: tuple[str, ...]
) -> None:
    layer = command[-1] if command[-1] != "up" else "experience"
    setting = f"TIERGATE_SERVER_{layer.upper()}_PORT"
    ports = {f"TIERGATE_SERVER_{each}_PORT": "0" for each in ("SYSTEM", "PROCESS", "EXPERIENCE")} | {
        setting: str(taken)
    }

    done = run(*command, "--config", EXAMPLE, **SECRETS, **ports, TIERGATE_FOLDER=str(tmp_path / "state"))

    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr == (
        f"tiergate: 127.0.0.1:{taken} of the {layer} layer is in use: "
        f"stop what listens there, or set server.{layer}_port ({setting})\n"
    )
    assert not (tmp_path / "state").exists()


def test_two_layers_at_one_port_are_refused(taken: int) -> None:
    with pytest.raises(NotReady) as refused:
        require_ports(Server(system_port=taken, process_port=taken), ["system", "process"])

    assert [each.split(" is ")[0] for each in str(refused.value).splitlines()] == [
        f"127.0.0.1:{taken} of the system layer",
        f"127.0.0.1:{taken} of the process layer",
    ]


def test_an_address_that_is_not_of_this_machine_is_named() -> None:
    with pytest.raises(NotReady, match=r"192\.0\.2\.1:8101 of the system layer cannot be listened on"):
        require_ports(Server(host="192.0.2.1"), ["system"])


def test_a_server_that_is_not_at_its_usual_port_is_said_to_be_elsewhere() -> None:
    elsewhere = choose_ports(usual=False)

    assert list(displaced(Ports(**USUAL))) == []
    assert f"8103 is taken: the experience layer is at http://127.0.0.1:{elsewhere.experience}" in displaced(elsewhere)
    assert len(list(displaced(elsewhere))) == len(USUAL)


def test_no_port_is_chosen_twice_before_anybody_listens_on_it() -> None:
    chosen = [port for _ in range(60) for port in msgspec.structs.astuple(choose_ports(usual=False))]

    assert len(set(chosen)) == len(chosen)


def test_no_free_port_is_one_that_an_outgoing_connection_may_take() -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])

    assert free_port() < lowest


def test_a_port_that_another_server_listens_on_is_not_chosen(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "FREE", range(taken, taken + 1))

    with pytest.raises(NotReady, match=f"no port of 127.0.0.1 is free between {taken} and {taken}: stop servers"):
        free_port()


def test_each_user_of_a_machine_has_locks_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = {lock_file(name) for name in ("ports", "usual-ports")}
    monkeypatch.setattr(os, "getuid", lambda: 4711)

    assert ours.isdisjoint({lock_file(name) for name in ("ports", "usual-ports")})
