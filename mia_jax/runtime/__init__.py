"""Devices, work and files: what every stage stands on.

The errors that a user can mend, the files of a work directory (`workdir`, `storage`, `records`,
`checkpoints`), and the work that is divided over devices (`workload`, `sharding`).
"""

from mia_jax.runtime.errors import MissingError, UserError
from mia_jax.runtime.workdir import WorkDirectory
from mia_jax.runtime.workload import Item

__all__ = ["Item", "MissingError", "UserError", "WorkDirectory"]
