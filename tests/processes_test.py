"""A process tells the others that it lives until it ends, and ends as if it had told nobody."""

import os
import socket
import subprocess
import sys

from absl.testing import absltest

# Signs without a pause, so that one is always under way when Python ends.
SCRIPT = """
import sys, jax
from mia_jax.runtime import processes
processes._EVERY = 0.0
jax.config.update("jax_platforms", "cpu")
jax.distributed.initialize(sys.argv[1], 2, int(sys.argv[2]))
processes.announce()
jax.devices()
"""


class AnnounceTest(absltest.TestCase):
    def test_processes_that_tell_of_themselves_end_well(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = "127.0.0.1:{1}".format(*free.getsockname())
        both = [
            subprocess.Popen(
                [sys.executable, "-c", SCRIPT, address, str(number)],
                env={**os.environ, "JAX_PLATFORMS": "cpu"},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for number in range(2)
        ]
        said = [process.communicate(timeout=120)[0] for process in both]
        self.assertEqual([process.returncode for process in both], [0, 0], "\n".join(said))


if __name__ == "__main__":
    absltest.main()
