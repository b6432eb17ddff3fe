"""Files that installed packages carry, found without importing them, and how to install more."""

import importlib.metadata
import pathlib
import re

_CHECKOUT = pathlib.Path(__file__).parents[2]


def files(package: str) -> dict[str, pathlib.Path] | None:
    """Lists the files of a package.

    Args:
      package: Its name on PyPI.

    Returns:
      Those that are there, by name without the folder; None if the package is not installed.
    """
    try:
        listed = importlib.metadata.distribution(package).files or []
    except importlib.metadata.PackageNotFoundError:
        return None
    found = {file.name: pathlib.Path(str(file.locate())) for file in listed}
    return {name: path for name, path in found.items() if path.exists()}


def hint(extra: str) -> str:
    """Says how to install what an extra brings.

    Never by the name of this package: on the index it is nobody's, so that whoever takes it would
    run code wherever the words are followed.

    Args:
      extra: One of those of setup.py.

    Returns:
      A command: from a clone the extra, else the packages that it names.
    """
    if (_CHECKOUT / "setup.py").is_file():
        return f'pip install -e ".[{extra}]" in the clone of mia_jax'
    try:
        required = importlib.metadata.requires("mia_jax") or []
    except importlib.metadata.PackageNotFoundError:
        required = []
    marker = re.compile(rf"""extra == ['"]{re.escape(extra)}['"]""")
    named = [each.partition(";")[0].strip() for each in required if marker.search(each)]
    return "pip install " + " ".join(f'"{each}"' for each in named)
