"""Flags that name files and directories: `~` is the home directory, as in a shell."""

import os
from typing import Any

from absl import flags

flags.disclaim_key_flags()  # A flag is of the module that defines it by these.


class _Parser(flags.ArgumentParser):
    """Expands `~` and `~user` at the beginning."""

    def parse(self, argument: str) -> str:
        return os.path.expanduser(argument)  # noqa: PTH111 pathlib would change module:function.


class _ListParser(flags.ListParser):
    """Expands them in each of several."""

    def parse(self, argument: Any) -> list[str]:
        return [os.path.expanduser(each) for each in super().parse(argument)]  # noqa: PTH111


def define(name: str, default: str | None, about: str) -> flags.FlagHolder:
    """Defines a flag of a path, or of what may be one.

    Args:
      name: The flag's.
      default: A path or None.
      about: What it says in the help.

    Returns:
      The flag.
    """
    return flags.DEFINE(_Parser(), name, default, about)


def define_list(name: str, default: list[str], about: str) -> flags.FlagHolder:
    """Defines a flag of several paths with commas between them.

    Args:
      name: The flag's.
      default: Paths.
      about: What it says in the help.

    Returns:
      The flag.
    """
    return flags.DEFINE(_ListParser(), name, default, about, serializer=flags.ListSerializer(","))


def define_multi(name: str, about: str) -> flags.FlagHolder:
    """Defines a flag of a path, or of what may be one, that may be repeated.

    Args:
      name: The flag's.
      about: What it says in the help.

    Returns:
      The flag.
    """
    return flags.DEFINE_multi(_Parser(), flags.ArgumentSerializer(), name, [], about)
