"""`darkroom review`: look at a run's doubtful images in the browser, and decide; every decision is a line in a file."""

import argparse
import signal
import socket
import threading
import webbrowser
from pathlib import Path
from typing import Any

from darkroom.core.errors import DarkroomError
from darkroom.core.progress import say
from darkroom.review.session import Review

HOST = "127.0.0.1"


def main(arguments: list[str]) -> int:
    """Serve the page until SIGINT or SIGTERM, then say what was decided."""
    options = _options(arguments)
    try:
        import uvicorn

        from darkroom.review.application import create_app, new_token
    except ModuleNotFoundError as error:
        raise DarkroomError(f"{error.name} is not installed; run `make setup-serve` in the project's folder") from error
    from darkroom.review.originals import Originals

    root = Path.cwd()
    review = Review(root)
    listener = _bind(options.port)
    port, token = listener.getsockname()[1], new_token()
    hosts = {f"{HOST}:{port}", f"localhost:{port}"}
    app = create_app(review, Originals(root, str(review.samples.params["source"])), token, lambda: hosts)
    threading.Thread(target=review.analyse, daemon=True).start()
    address = f"http://{HOST}:{port}/{token}/"
    say(f"darkroom review: {address} (Ctrl+C stops it; every decision is saved as it is made)")
    if options.browser:
        webbrowser.open(address)
    config = uvicorn.Config(app, log_config=None, access_log=False, server_header=False, ws="none",
                            timeout_graceful_shutdown=3)  # fmt: skip
    for ending in (signal.SIGINT, signal.SIGTERM):  # uvicorn raises it again when it has ended: what follows still runs
        signal.signal(ending, lambda *_: None)
    uvicorn.Server(config).run(sockets=[listener])
    _report(review)
    return 0


def _report(review: Review) -> None:
    counts: dict[str, Any] = review.state()["decisions"]
    words = {"relabel": "relabelled", "exclude": "excluded", "keep": "kept", "unsure": "not sure"}
    parts = [f"{counts[kind]:,} {word}" for kind, word in words.items()]
    total = sum(counts.values())
    say(f"darkroom review: {review.log.path.name} has {total:,} decision{'s' * (total != 1)}: {', '.join(parts)}")
    for warning in review.warnings():
        say(f"note: {warning}")
    if counts["relabel"] + counts["exclude"]:
        say("`dvc repro` learns again with them; `darkroom compare` then says what they brought")


def _bind(port: int) -> socket.socket:
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        raise DarkroomError(f"cannot listen on {HOST}:{port}: {error.strerror}; choose another --port") from error


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="darkroom review",
        description="Look at doubtful images of this run in the browser, and correct their labels. Decisions go to "
        "corrections.csv; the images themselves are never changed. Only this machine can open the page.",
    )
    parser.add_argument("--port", type=int, default=0, help="the port (default: any free one)")
    parser.add_argument("--no-browser", dest="browser", action="store_false", help="print the address, open nothing")
    options = parser.parse_args(arguments)
    if not 0 <= options.port <= 65535:
        parser.error(f"argument --port: {options.port} is not a port; expected 0 to 65535")
    return options
