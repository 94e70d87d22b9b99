"""The `darkroom` command, which imports a subcommand (darkroom/core/commands.py) only when it is called.

A subcommand is a module with `main(arguments: list[str]) -> int`: it parses its own arguments (an ArgumentParser with
`prog="darkroom NAME"`), returns the exit status, and raises a DarkroomError for what a user can cause.
"""

import argparse
import errno
import importlib
import os
import sys
from collections.abc import Sequence

from darkroom.core.commands import COMMANDS
from darkroom.core.errors import REASONS, DarkroomError

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `darkroom NAME …`; return the exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    parsed = _parser().parse_args(arguments)
    module, _ = COMMANDS[parsed.command]
    try:
        return importlib.import_module(module).main(parsed.arguments)
    except DarkroomError as error:
        print(f"darkroom {parsed.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (head, less) has closed the pipe: not an error, but Python must not flush to it again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # a full disk, or a folder that may not be written to
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)  # a write that fails does not know the file's name
        if error.filename is None and not full:
            raise
        reason = REASONS[error.errno or 0] if full else error.strerror
        print(f"darkroom {parsed.command}: {error.filename or 'this disk'}: {reason}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    lines = [f"  {name:<14} {what}" for name, (_, what) in COMMANDS.items()]
    parser = argparse.ArgumentParser(
        prog="darkroom",
        description="Use and compare the classifiers that the pipeline develops.",
        usage="darkroom COMMAND … (darkroom COMMAND --help says more)",
        epilog="\n".join(["commands:", *lines]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="one of the commands below")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="what the command takes")
    return parser


if __name__ == "__main__":
    sys.exit(main())
