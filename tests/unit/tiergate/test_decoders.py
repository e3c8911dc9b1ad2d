"""Threads decode structs together that nobody has decoded before."""

from __future__ import annotations

import subprocess
import sys

TOGETHER = """
import sys, threading
import msgspec
from tiergate.contracts.examples import SAMPLES
from tiergate.server import decoders

decoders.build()
sys.setswitchinterval(1e-6)
for kind, sample in SAMPLES.items():
    if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        continue
    raw, start = msgspec.json.encode(sample), threading.Barrier(4)
    def decode():
        start.wait()
        msgspec.json.decode(raw, type=kind)
    threads = [threading.Thread(target=decode) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
print("done")
"""


def test_structs_are_decoded_by_many_threads_at_once() -> None:
    done = subprocess.run([sys.executable, "-c", TOGETHER], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
