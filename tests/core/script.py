"""A stage of a few lines, in a process of its own."""

import os
import subprocess
import sys
import textwrap

from tests.conftest import ROOT


def start(tmp_path, body, *arguments, **environment):
    """Start a script whose `main` is in `body`."""
    script = tmp_path / "develop.py"
    head = """
from pathlib import Path
from darkroom.core.errors import SourceError
from darkroom.core.stage import note, run
"""
    script.write_text(head + textwrap.dedent(body) + "\nrun(main)\n")
    return subprocess.Popen(
        [sys.executable, script, *arguments],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
