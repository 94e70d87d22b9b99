"""The wire contract, fuzzed against the service's own OpenAPI document."""

import io

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from PIL import Image


def _pictures() -> list[bytes]:
    made = []
    for name in ("PNG", "JPEG", "WEBP"):
        for size in ((1, 1), (40, 30), (7, 200)):
            file = io.BytesIO()
            Image.new("RGB", size, (200, 30, 90)).save(file, name)
            made.append(file.getvalue())
    return made


PICTURES = st.sampled_from(_pictures())
for kind in ("image/jpeg", "image/png", "image/webp", "application/octet-stream"):
    schemathesis.openapi.media_type(kind, PICTURES)
schemathesis.openapi.format("binary", st.sampled_from([picture.decode("latin-1") for picture in _pictures()]))


OPERATIONS = [
    ("/predict", "POST"), ("/explain", "POST"), ("/model", "GET"), ("/healthz", "GET"), ("/readyz", "GET"),
    ("/metrics", "GET"),
]  # fmt: skip


@pytest.fixture(scope="module")
def document(server):
    return schemathesis.openapi.from_url(f"{server.url}/openapi.json")


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_answer_is_as_the_document_says(document, path, method, mode):
    operation = document[path][method]

    @settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None)
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case):
        case.call_and_validate()

    try:
        check()
    except Unsatisfiable:
        assert mode is schemathesis.GenerationMode.NEGATIVE  # nothing about this call can be wrong


def test_the_document_names_every_status_that_is_given(server):
    document = httpx.get(f"{server.url}/openapi.json").json()
    assert set(document["paths"]) == {"/predict", "/explain", "/model", "/healthz", "/readyz", "/metrics"}
    assert set(document["paths"]["/predict"]["post"]["responses"]) == {"200", "400", "408", "413", "415", "422", "503"}
