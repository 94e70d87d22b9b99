"""`make pr-comment`: post pr-report.md as one comment on the pull request, updated in place. Standard library only.

It runs in a workflow with write access, on a report made by the pull request's own code. So the report is only posted
as text, and only if the pull request is still at the commit of the report.

Environment: GITHUB_TOKEN, GITHUB_REPOSITORY, GITHUB_API_URL, HEAD_SHA (of the run that made the report), REPORT_FOLDER.
"""

import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MARKER = "<!-- darkroom: pull request report -->"
MOST = 65_000  # characters; GitHub takes 65,536
PAGE = 100


class CommentError(Exception):
    """The comment cannot be posted; str(error) is the reason."""


class Api:
    """A client of GitHub's REST API for one repository."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        try:
            self.token, self.repository = environment["GITHUB_TOKEN"], environment["GITHUB_REPOSITORY"]
        except KeyError as error:
            raise CommentError(f"{error.args[0]} is not set; this runs in a GitHub workflow") from error
        self.url = environment.get("GITHUB_API_URL", "https://api.github.com")

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Return the JSON that GitHub answers to a call below the repository. Raises CommentError with its message."""
        request = urllib.request.Request(
            f"{self.url}/repos/{self.repository}/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Accept": "application/vnd.github+json",
                "Authorization": f"Bearer {self.token}",
                "Content-Type": "application/json",
                "X-GitHub-Api-Version": "2022-11-28",
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise CommentError(f"{method} {path}: {error.code} {error.reason}") from error
        except urllib.error.URLError as error:
            raise CommentError(f"{method} {path}: {error.reason}") from error


def post(folder: Path, api: Api, head: str) -> str:
    """Post `folder`/pr-report.md to the pull request in `folder`/pr-number.txt, and return what was done.

    `head` is the commit of the report. Raises CommentError.
    """
    try:
        number = (folder / "pr-number.txt").read_text(encoding="utf-8").strip()
        report = (folder / "pr-report.md").read_text(encoding="utf-8")
    except OSError as error:
        raise CommentError(f"{error.filename} is missing; the report workflow makes it") from error
    if not (number.isascii() and number.isdigit() and len(number) < 10):
        raise CommentError(f"pr-number.txt holds {number[:20]!r}, expected a number")
    if api.call("GET", f"pulls/{number}")["head"]["sha"] != head:
        raise CommentError(
            f"pull request {number} is not at {head[:12]}: it has moved on, or the report is not its own"
        )
    text = f"{MARKER}\n{report}"
    if len(text) > MOST:
        text = text[:MOST] + "\n\n… the rest is in the job's summary."
    known = _known(api, number)
    if known is None:
        api.call("POST", f"issues/{number}/comments", {"body": text})
        return f"posted a comment on pull request {number}"
    api.call("PATCH", f"issues/comments/{known}", {"body": text})
    return f"updated the comment on pull request {number}"


def _known(api: Api, number: str) -> int | None:
    """Return the id of the bot's comment with a report, None without one."""
    page = 1
    while True:
        comments = api.call("GET", f"issues/{number}/comments?per_page={PAGE}&page={page}")
        for comment in comments:
            if comment["body"].startswith(MARKER) and comment["user"]["type"] == "Bot":
                return int(comment["id"])
        if len(comments) < PAGE:
            return None
        page += 1


def main() -> int:
    """Post the report; return the exit status: 0 posted, 1 not."""
    try:
        head = os.environ.get("HEAD_SHA", "")
        if not head:
            raise CommentError("HEAD_SHA is not set; set it to the commit of the report")
        print(post(Path(os.environ.get("REPORT_FOLDER", ".darkroom/report")), Api(os.environ), head))
    except CommentError as error:
        print(f"pr-comment: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
