"""Words that nobody can guess: links of observers, names of pictures, proof that a form is ours.

All of them follow from one secret and what they are for, so that a server that is started again
knows them without having kept them.
"""

import base64
import hashlib
import hmac
import secrets
from typing import NamedTuple

SECRET_BYTES = 32
_LENGTH = 24  # Characters: 144 bits.


def new_secret() -> bytes:
    """Draws a secret for a study."""
    return secrets.token_bytes(SECRET_BYTES)


class Links(NamedTuple):
    """The words of one study.

    Attributes:
      secret: All that they follow from.
    """

    secret: bytes

    def observer(self, number: int) -> str:
        """Returns what an observer's link ends in."""
        return self._word("observer", number)

    def admin(self) -> str:
        """Returns the token of whoever runs the study."""
        return self._word("admin")

    def form(self, number: int, action: str) -> str:
        """Returns the proof that an observer got the form of an action from us."""
        return self._word("form", number, action)

    def picture(self, number: int, step: int, place: int) -> str:
        """Returns the name of the picture at a place of one observer's step."""
        return self._word("picture", number, step, place)

    def noise(self, name: str) -> bytes:
        """Returns what the last bits of a picture follow from, which its name does not tell."""
        return hmac.new(self.secret, f"noise\0{name}".encode(), hashlib.sha256).digest()

    def _word(self, *purpose: str | int) -> str:
        text = "\0".join(map(str, purpose)).encode()
        word = hmac.new(self.secret, text, hashlib.sha256).digest()
        return base64.urlsafe_b64encode(word).decode()[:_LENGTH]


def same(one: str, other: str) -> bool:
    """Compares two words in a time that does not tell where they differ."""
    return hmac.compare_digest(one.encode(), other.encode())
