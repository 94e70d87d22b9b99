"""A DVC remote on S3, by a real S3 server on this machine: push from one clone, pull in another."""

import logging

import pytest

from tests.reporting.project import make_project, run

moto = pytest.importorskip("moto.server")
pytest.importorskip("dvc_s3")


@pytest.fixture
def s3(monkeypatch):
    """Yield the address of an S3 server with a bucket `photos`."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in (("ACCESS_KEY_ID", "key"), ("SECRET_ACCESS_KEY", "secret"), ("DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    import urllib.request

    request = urllib.request.Request(f"http://{host}:{port}/photos", method="PUT")
    urllib.request.urlopen(request).close()
    yield f"http://{host}:{port}"
    server.stop()


def test_a_run_pushed_to_s3_is_pulled_in_another_clone_where_nothing_is_to_be_done(s3, tmp_path):
    project, clone = make_project(tmp_path / "project"), tmp_path / "clone"
    run(project, "dvc", "remote", "add", "-q", "-d", "store", "s3://photos/darkroom")
    run(project, "dvc", "remote", "modify", "-q", "store", "endpointurl", s3)
    run(project, "git", "commit", "-q", "-a", "-m", "Add a remote")
    assert "pushed" in run(project, "dvc", "push")
    run(tmp_path, "git", "clone", "-q", str(project), str(clone))
    assert not (clone / "plots/predictions.csv").exists()
    run(clone, "dvc", "pull", "-q")
    assert (clone / "plots/predictions.csv").read_bytes() == (project / "plots/predictions.csv").read_bytes()
    assert "Data and pipelines are up to date" in run(clone, "dvc", "repro")
