"""Where to compute: the flags that choose devices, and several processes that work as one."""

import math
import os
import pathlib

import jax
from absl import flags, logging

from experiments import path_flags
from mia_jax.runtime.errors import UserError
from mia_jax.runtime.processes import announce

_PLATFORM = flags.DEFINE_enum(
    "platform", None, ["cpu", "gpu", "tpu"], "Where to compute; by default the best there is."
)
_CPU_DEVICES = flags.DEFINE_integer(
    "cpu_devices",
    None,
    "Into how many devices JAX divides the CPU: by default one for each core, at most 16. Trained "
    "weights depend on it in their last digits, clones do not.",
    lower_bound=1,
)
_COMPILATION_CACHE = path_flags.define(
    "compilation_cache",
    None,
    "Directory that keeps compiled programs, so that the next run starts at once.",
)
_DISTRIBUTED = flags.DEFINE_bool(
    "distributed",
    False,
    "Join the other processes of this job, which JAX finds by itself on SLURM, Cloud TPU, GKE and "
    "under Open MPI.",
)
_COORDINATOR = flags.DEFINE_string(
    "coordinator_address",
    None,
    "Address HOST:PORT of process 0, where JAX does not find it by itself.",
)
_PROCESSES = flags.DEFINE_integer(
    "num_processes", None, "How many processes work as one.", lower_bound=1
)
_PROCESS = flags.DEFINE_integer("process_id", None, "Which of them this is.", lower_bound=0)
_HEARTBEAT = flags.DEFINE_integer(
    "heartbeat_timeout", 100, "Seconds without a sign of a process after which all end.", 1
)

MOST_CPU_DEVICES = 16  # Each takes memory for its own chunk.


def divide_cpu() -> None:
    """Makes several devices of the CPU, unless JAX is told how many by other means.

    Two cores attack 1.3 to 1.5 times as fast on a chunk each as on one chunk together, since
    much of a step does not divide well over threads.
    """
    count = _CPU_DEVICES.value
    told = (
        "JAX_NUM_CPU_DEVICES" in os.environ
        or "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    )
    if count is None and not told:
        count = min(cores(), MOST_CPU_DEVICES)
    if count is not None:
        jax.config.update("jax_num_cpu_devices", count)


def cores() -> int:
    """Returns how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def for_training(batch_size: int) -> list[jax.Device]:
    """Returns the devices that divide a batch of training.

    Args:
      batch_size: Photographs in it.

    Returns:
      All; of the CPU, as many as divide the batch, since their number is not the user's choice.
    """
    if jax.default_backend() != "cpu":
        return jax.devices()
    processes = [jax.local_devices(process) for process in range(jax.process_count())]
    count = math.gcd(batch_size // len(processes), *map(len, processes))
    return [device for own in processes for device in own[:count]]


def start() -> None:
    """Joins the other processes, if there are any, and opens the devices.

    Raises:
      UserError: If the flags contradict each other, or there is no such device.
    """
    needed = (_COORDINATOR, _PROCESSES, _PROCESS)
    missing = [f"--{flag.name}" for flag in needed if flag.value is None]
    if 0 < len(missing) < len(needed):
        raise UserError(
            f"{' and '.join(missing)} missing: processes that work as one need "
            "--coordinator_address, --num_processes and --process_id, all three"
        )
    if not missing and (_PROCESS.value or 0) >= (_PROCESSES.value or 1):
        raise UserError(
            f"--process_id={_PROCESS.value} is not below --num_processes={_PROCESSES.value}: "
            "count from 0"
        )
    if _PLATFORM.value:
        jax.config.update("jax_platforms", {"gpu": "cuda"}.get(_PLATFORM.value, _PLATFORM.value))
    divide_cpu()
    if _COMPILATION_CACHE.value:
        jax.config.update(
            "jax_compilation_cache_dir", str(pathlib.Path(_COMPILATION_CACHE.value).absolute())
        )
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    if _DISTRIBUTED.value or not missing:
        logging.info(
            "Waiting for the other processes at %s; should one be lost later, JAX ends the "
            "rest and says that another task died",
            _COORDINATOR.value or "the coordinator",
        )
        try:
            jax.distributed.initialize(
                _COORDINATOR.value,
                _PROCESSES.value,
                _PROCESS.value,
                heartbeat_timeout_seconds=_HEARTBEAT.value,
            )
        except (RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"the processes of this job did not find each other ({reason}): start all of them "
                "within five minutes, with the same --coordinator_address and --num_processes"
            ) from None
        announce()
    try:
        device = jax.devices()[0]
    except (RuntimeError, AssertionError) as error:  # The latter where no plugin is installed.
        reason = str(error).partition("\n")[0] or "JAX is installed without support for it"
        raise UserError(f"--platform={_PLATFORM.value} has no device here ({reason})") from None
    logging.info(
        "Process %d of %d computes on %d of %d devices: %s",
        jax.process_index() + 1,
        jax.process_count(),
        jax.local_device_count(),
        jax.device_count(),
        device.device_kind,
    )
