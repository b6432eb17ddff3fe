"""What is compiled once is not compiled again: by another worker, or a binary."""

import os
import tempfile

_PROGRAMS = "JAX_COMPILATION_CACHE_DIR"


def pytest_configure(config):
    """Names a directory before JAX is imported; workers and binaries inherit it."""
    if _PROGRAMS in os.environ or hasattr(config, "workerinput"):
        return
    programs = tempfile.TemporaryDirectory()
    config.add_cleanup(programs.cleanup)
    os.environ[_PROGRAMS] = programs.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
