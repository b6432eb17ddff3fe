"""Where to compute: the flags that choose devices, and several processes that work as one."""

import pathlib

import jax
from absl import flags, logging

_PLATFORM = flags.DEFINE_enum(
    "platform", None, ["cpu", "gpu", "tpu"], "Where to compute; by default the best there is."
)
_COMPILATION_CACHE = flags.DEFINE_string(
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


def start() -> None:
    """Joins the other processes, if there are any, and opens the devices.

    Raises:
      ValueError: If the flags contradict each other, or there is no such device.
    """
    needed = (_COORDINATOR, _PROCESSES, _PROCESS)
    missing = [f"--{flag.name}" for flag in needed if flag.value is None]
    if 0 < len(missing) < len(needed):
        raise ValueError(
            f"{' and '.join(missing)} missing: processes that work as one need "
            "--coordinator_address, --num_processes and --process_id, all three"
        )
    if not missing and (_PROCESS.value or 0) >= (_PROCESSES.value or 1):
        raise ValueError(
            f"--process_id={_PROCESS.value} is not below --num_processes={_PROCESSES.value}: "
            "count from 0"
        )
    if _PLATFORM.value:
        jax.config.update("jax_platforms", {"gpu": "cuda"}.get(_PLATFORM.value, _PLATFORM.value))
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
            raise ValueError(
                f"the processes of this job did not find each other ({reason}): start all of them "
                "within five minutes, with the same --coordinator_address and --num_processes"
            ) from None
    try:
        device = jax.devices()[0]
    except (RuntimeError, AssertionError) as error:  # The latter where no plugin is installed.
        reason = str(error).partition("\n")[0] or "JAX is installed without support for it"
        raise ValueError(f"--platform={_PLATFORM.value} has no device here ({reason})") from None
    logging.info(
        "Process %d of %d computes on %d of %d devices: %s",
        jax.process_index() + 1,
        jax.process_count(),
        jax.local_device_count(),
        jax.device_count(),
        device.device_kind,
    )
