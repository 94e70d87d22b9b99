import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tools.comment import MARKER, MOST, Api, CommentError, post


class GitHub(HTTPServer):
    """The part of GitHub that is talked to, over real HTTP: pull request 7 at commit abc, with comments."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.comments: list[dict] = []
        self.seen: list[tuple[str, str, str]] = []


class Handler(BaseHTTPRequestHandler):
    server: GitHub

    def _do(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "null")
        self.server.seen.append((self.command, self.path, self.headers["Authorization"]))
        path, comments = self.path.removeprefix("/repos/o/r/"), self.server.comments
        answer: object = None
        if path == "pulls/7":
            answer = {"head": {"sha": "abc"}}
        elif path.startswith("issues/7/comments") and self.command == "GET":
            page = int(path.rpartition("page=")[2])
            answer = comments[100 * (page - 1) : 100 * page]
        elif path == "issues/7/comments":
            answer = {"id": len(comments), "body": body["body"], "user": {"type": "Bot"}}
            comments.append(answer)
        elif path.startswith("issues/comments/") and self.command == "PATCH":
            answer = comments[int(path.rpartition("/")[2])]
            answer["body"] = body["body"]
        self.send_response(404 if answer is None else 200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    do_GET = do_POST = do_PATCH = _do

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def github():
    server = GitHub()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def api(server: GitHub) -> Api:
    url = f"http://127.0.0.1:{server.server_port}"
    return Api({"GITHUB_TOKEN": "secret", "GITHUB_REPOSITORY": "o/r", "GITHUB_API_URL": url})


def report(folder, text="### Better", number="7\n"):
    (folder / "pr-report.md").write_text(text, encoding="utf-8")
    (folder / "pr-number.txt").write_text(number, encoding="utf-8")
    return folder


def test_one_comment_is_posted_and_then_updated_in_place(github, tmp_path):
    github.comments += [{"id": n, "body": "hello", "user": {"type": "User"}} for n in range(150)]
    github.comments[3]["body"] = f"{MARKER} imitated by a person"
    assert post(report(tmp_path), api(github), "abc") == "posted a comment on pull request 7"
    assert post(report(tmp_path, "### Worse"), api(github), "abc") == "updated the comment on pull request 7"
    assert [c["body"] for c in github.comments[150:]] == [f"{MARKER}\n### Worse"]
    assert github.comments[3]["body"].endswith("imitated by a person")
    assert {authorization for *_, authorization in github.seen} == {"Bearer secret"}


def test_a_report_of_another_commit_is_not_posted(github, tmp_path):
    with pytest.raises(CommentError, match="pull request 7 is not at def"):
        post(report(tmp_path), api(github), "def")
    assert github.comments == []


@pytest.mark.parametrize("number", ["../issues/1", "7; rm -rf /", "", "٧", "12345678901"])
def test_what_is_no_number_is_refused_before_anything_is_asked(github, tmp_path, number):
    with pytest.raises(CommentError, match="expected a number"):
        post(report(tmp_path, number=number), api(github), "abc")
    assert github.seen == []


def test_a_long_report_is_cut_to_what_github_takes(github, tmp_path):
    post(report(tmp_path, "x" * 100_000), api(github), "abc")
    assert MOST < len(github.comments[0]["body"]) < 65_536


def test_refusals_are_one_line(github, tmp_path):
    with pytest.raises(CommentError, match="GET pulls/8: 404"):
        post(report(tmp_path, number="8"), api(github), "abc")
    with pytest.raises(CommentError, match="GITHUB_TOKEN is not set"):
        Api({})
    with pytest.raises(CommentError, match=r"pr-number.txt is missing"):
        post(tmp_path / "nowhere", api(github), "abc")
