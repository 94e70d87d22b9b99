"""Ask Git about the project: its commits, its files, its history."""

import subprocess
from pathlib import Path

from darkroom.core.errors import DarkroomError


def git(root: Path, *arguments: str) -> str:
    """Return Git's output, without the last newline. Raises DarkroomError with Git's reason, in one line."""
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    if "tell me who you are" in done.stderr:
        raise DarkroomError(
            "Git does not know who commits; run `git config --global user.name 'Your Name'` and "
            "`git config --global user.email you@example.org`, then the same command again"
        )
    if done.returncode:
        raise DarkroomError(f"git {' '.join(arguments)}: {' '.join(done.stderr.split()) or done.returncode}")
    return done.stdout.rstrip("\n")


def git_output(root: Path, *arguments: str, given: bytes = b"") -> bytes | None:
    """Return Git's output for the input `given`; None where Git fails, is not installed, or finds no repository."""
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, input=given, check=False)
    except OSError:
        return None
    return None if done.returncode else done.stdout
