"""A disk that is full, for real: the kernel lets no file of this process grow beyond a size."""

from __future__ import annotations

import resource
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def no_file_above(size: int) -> Generator[None]:
    """Let the kernel write what fits below `size` bytes of each file, and refuse the rest."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
