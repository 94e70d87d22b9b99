"""Ask Git about the project: its commits, its files, its history."""

import subprocess
from pathlib import Path

from darkroom.core.errors import DarkroomError


def git(root: Path, *arguments: str) -> str:
    """Return Git's output, without the last newline. Raises DarkroomError with Git's reason."""
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DarkroomError(f"git {' '.join(arguments)}: {done.stderr.strip() or done.returncode}")
    return done.stdout.rstrip("\n")


def git_output(root: Path, *arguments: str, given: bytes = b"") -> bytes | None:
    """Return Git's output; None where it fails, as outside of a repository, or finds nothing. `given`: its input."""
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, input=given, check=False)
    except OSError:  # Git is not installed
        return None
    return None if done.returncode else done.stdout
