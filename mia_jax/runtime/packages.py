"""Files that installed packages carry, found without importing the packages."""

import importlib.metadata
import pathlib


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
