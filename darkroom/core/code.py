"""Report code that a stage ran without depending on it: an import that `make wire` has not seen yet."""

import sys
from pathlib import Path

CODE = Path("stages/code")
PACKAGES = ("darkroom", "stages")


def unlinked(stage: str, root: Path = Path()) -> list[str]:
    """Return the project's own modules that this process has imported and that `stages/code/<stage>` does not link.

    Empty where the folder does not exist: a script that is run outside of a project has no deps.
    """
    folder = root / CODE / stage
    if not folder.is_dir():
        return []
    linked = {path.name for path in folder.iterdir()}
    used = [name for name, module in sys.modules.items() if not hasattr(module, "__path__")]
    return sorted(name for name in used if name.partition(".")[0] in PACKAGES and name not in linked)
