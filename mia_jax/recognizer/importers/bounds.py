"""How much memory a model from elsewhere may ask for."""

from collections.abc import Collection

from mia_jax.runtime.errors import UserError

LARGEST = 2**27  # Elements of an array: half a gigabyte of float32.


def check_size(shape: Collection[int], pictures: int = 1, most: int = LARGEST) -> None:
    """Refuses an array that is too large, before anything is allocated.

    Args:
      shape: Its sides.
      pictures: How many pictures are evaluated side by side.
      most: How many elements are accepted for each of them.

    Raises:
      UserError: If it has more.
    """
    count = 1
    for side in shape:  # Python's own integers do not overflow.
        count *= int(side)
    if count > most * max(pictures, 1):
        raise UserError(
            f"it asks for an array of {'x'.join(str(side) for side in shape)}, and at most "
            f"{most} elements a picture are accepted"
        )
