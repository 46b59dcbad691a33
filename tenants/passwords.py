"""Passwords: which are refused, and their hashes. Import it in the function that needs it: that takes 19 MiB and 26 ms.

So only a process in which somebody logs in pays for it. Workers never do, and there are many of them.
"""

from __future__ import annotations

import re
import secrets
import threading

import argon2

_hasher = argon2.PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
# The longest-standing of the published lists of stolen passwords, as far as they have eight characters.
_COMMON = frozenset(
    "password password1 passw0rd 12345678 123456789 1234567890 87654321 11111111 00000000 88888888 123123123 "
    "qwertyuiop qwerty123 1q2w3e4r 1qaz2wsx asdfghjkl zaq12wsx abcd1234 abc12345 iloveyou sunshine princess football "
    "baseball superman starwars trustno1 whatever computer michelle jennifer corvette changeme welcome1 letmein1 "
    "admin123 administrator secret123 internet samantha".split()
)
_PASSWORD = re.compile(r"[^\ud800-\udfff]{8,}", re.DOTALL)
_at_work = threading.BoundedSemaphore(2)  # a flood of logins must not cost more
_nobodys = _hasher.hash(secrets.token_hex())


def is_weak(password: str) -> bool:
    """Whether it is too short, or one that everybody tries first."""
    return not _PASSWORD.fullmatch(password) or password.lower() in _COMMON


def hashed(password: str) -> str:
    """Its hash, which `fits` takes."""
    return _hasher.hash(password)


def fits(password: str, stored: str | None) -> bool:
    """Whether it is the password of this hash. Where there is none, it takes as long to say no."""
    with _at_work:
        try:
            _hasher.verify(stored or _nobodys, password)
        except argon2.exceptions.VerifyMismatchError:
            return False
    return bool(stored)
