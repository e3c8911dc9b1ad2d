"""Hosts that are network namespaces of this machine, each with an address of its own, behind one switch."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

IP = "/usr/sbin/ip"
MOUNT, UMOUNT = "/usr/bin/mount", "/usr/bin/umount"
DISK = "24m"
"""How much fits on the disk of a host."""


def _run(*command: str | Path) -> None:
    subprocess.run([str(each) for each in command], check=True)


class Host:
    """A network namespace with one address, and a disk of its own."""

    def __init__(self, name: str, address: str, device: str, disk: Disk) -> None:
        self.name = name
        self.address = address
        self.disk = disk
        self.folder = disk.folder
        self._device = device
        """What the host's cable is called at the switch."""

    def command(self, *words: str) -> list[str]:
        """Return the words with which something runs on the host."""
        return [IP, "netns", "exec", self.name, *words]

    def cut_off(self) -> None:
        """Pull the cable: nothing gets through, and no connection ends."""
        _run(IP, "link", "set", self._device, "down")

    def connect(self) -> None:
        _run(IP, "link", "set", self._device, "up")


class Disk:
    """A disk of its own, on which no more than `DISK` fits."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    @classmethod
    @contextmanager
    def mounted(cls, folder: Path) -> Generator[Disk]:
        """Yield a disk that is empty, at a folder that it creates."""
        folder.mkdir()
        _run(MOUNT, "-t", "tmpfs", "-o", f"size={DISK}", "none", folder)
        try:
            yield cls(folder)
        finally:
            _run(UMOUNT, "--lazy", folder)

    def fill(self) -> None:
        """Leave no room."""
        with self._ballast.open("ab", buffering=0) as ballast:
            for size in (65536, 4096, 512, 1):
                while _fits(ballast.fileno(), size):
                    continue

    def empty(self) -> None:
        self._ballast.unlink(missing_ok=True)


def _fits(file: int, size: int) -> bool:
    try:
        return os.write(file, b"\0" * size) == size
    except OSError:
        return False


class Network:
    """A switch with this machine and some hosts at it. It is taken down, and its disks with it, by `close`."""

    def __init__(self, folder: Path, hosts: int) -> None:
        tag = f"{os.getpid() % 0x10000:04x}"
        number = os.getpid() % 250 + 2
        self._stack = ExitStack()
        self.hosts: list[Host] = []
        self.address = f"10.213.{number}.1"
        """This machine's own."""
        switch = f"tg{tag}s"
        _run(IP, "link", "add", "name", switch, "type", "bridge")
        self._stack.callback(_run, IP, "link", "delete", switch)
        _run(IP, "address", "add", f"{self.address}/24", "dev", switch)
        _run(IP, "link", "set", switch, "up")
        for place in range(hosts):
            self.hosts.append(self._add(f"tg{tag}h{place}", f"10.213.{number}.{11 + place}", switch, folder))

    def _add(self, name: str, address: str, switch: str, folder: Path) -> Host:
        _run(IP, "netns", "add", name)
        self._stack.callback(_run, IP, "netns", "delete", name)
        _run(IP, "link", "add", f"{name}a", "type", "veth", "peer", "name", "eth0", "netns", name)
        _run(IP, "link", "set", f"{name}a", "master", switch, "up")
        for command in (("address", "add", f"{address}/24", "dev", "eth0"), ("link", "set", "eth0", "up")):
            _run(IP, "-netns", name, *command)
        _run(IP, "-netns", name, "link", "set", "lo", "up")
        disk = self._stack.enter_context(Disk.mounted(folder / name))
        return Host(name, address, f"{name}a", disk)

    def close(self) -> None:
        self._stack.close()
