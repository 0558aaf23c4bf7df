"""The course's secret, from which hidden arguments are drawn."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from autograder.core.files import write_part

SECRET_BYTES = 32


class BrokenSecret(ValueError):
    """The course's secret is not what was once made; the message has the remedy."""


def read_secret(root: Path) -> bytes:
    """The course's secret, made on first use; whoever knows it can hard-code against the probes.

    It lies in `.autograder/secret`, readable by its owner only, and is never committed. Two graders that start at
    once agree on one: the first to link its file wins. Raises BrokenSecret: an empty file, as a full disk or a power
    cut can leave it, would make probes that everybody can compute.
    """
    path = root / ".autograder" / "secret"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        made = write_part(path, secrets.token_hex(SECRET_BYTES).encode(), durable=True)
        with suppress(FileExistsError):
            os.link(made, path)
        made.unlink()
    try:
        secret = bytes.fromhex(path.read_text().strip())
    except ValueError:
        secret = b""
    if len(secret) != SECRET_BYTES:
        raise BrokenSecret(
            f"{path} must hold {2 * SECRET_BYTES} hexadecimal digits, and does not: put back a copy, or delete it; "
            "then a new secret is made, probes are others, and every submission is graded again"
        )
    return secret
