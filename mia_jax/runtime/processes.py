"""The processes that work as one: who of them is still there.

When a process ends, the others' collectives fail, with errors of several types whose texts differ
by backend. So that a lost process is not told by such a text, each one writes every other second to
JAX's coordination service that it lives, and whoever fails looks whose sign has stopped.
"""

import atexit
import contextlib
import threading
import time

import jax
from jax._src import distributed  # JAX offers its coordination service nowhere else.

_SIGNS = "mia_jax/alive"
_EVERY = 2.0  # Seconds between two signs.
_PATIENCE = 6.0  # Without a sign for so long, a process is lost.


def announce() -> None:
    """Begins to tell the other processes that this one lives; to be called once by each of them.

    A process that knows of no others has nobody to tell.
    """
    client = distributed.global_state.client
    if client is None:
        return
    key = f"{_SIGNS}/{jax.process_index()}"
    ended = threading.Event()

    def tell() -> None:
        count = 0
        # Where the first process is gone, so are the signs, and JAX ends this process too.
        with contextlib.suppress(jax.errors.JaxRuntimeError):
            while not ended.is_set():
                client.key_value_set(key, str(count), allow_overwrite=True)
                count += 1
                ended.wait(_EVERY)

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()

    def end() -> None:
        ended.set()
        teller.join(_PATIENCE)

    # A thread that is inside JAX's client while Python ends aborts the process. This runs before
    # JAX leaves the others, which it asked for earlier.
    atexit.register(end)


def lost() -> bool:
    """Tells whether another process of this job has ended; takes six seconds if there are others.

    Returns:
      True if one gives no sign any more, or the first process, which keeps the signs, is gone.
    """
    client = distributed.global_state.client
    if client is None:
        return False
    try:
        before = dict(client.key_value_dir_get(_SIGNS))
        time.sleep(_PATIENCE)
        return any(before[key] == sign for key, sign in client.key_value_dir_get(_SIGNS))
    except jax.errors.JaxRuntimeError:
        return True
