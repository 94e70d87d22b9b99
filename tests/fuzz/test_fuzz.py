"""Real files, changed by chance: whatever reads them gives an answer or one short reason, and nothing else.

`make fuzz` runs these for longer; what fails is kept in .hypothesis/, is tried first the next time, and becomes a
case of the reader's own tests.
"""

import io
import json
import tarfile
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from PIL import Image
from starlette.testclient import TestClient

from darkroom.core import tensorfile, yaml12
from darkroom.core.errors import BadImage, DarkroomError
from darkroom.core.params import load
from darkroom.core.runtime import from_environment
from darkroom.images.decode import decode
from darkroom.images.framing import Framing
from darkroom.images.headers import stored_size, upright_size
from darkroom.serve.application import create_app
from darkroom.serve.predictor import Predictor
from darkroom.sources.open import open_source
from darkroom.sources.trees import open_tree
from stages.fetch import FetchParams
from tests.export import small
from tests.fuzz.edits import EDITS, FUZZ, edited
from tests.project import ROOT

LONGEST = 2000  # characters of a reason: it may name a path
PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (24, 20, 3), np.uint8))


def encoded(kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    PICTURE.save(file, kind, **options, **({} if kind in ("GIF", "BMP", "PPM") else {"exif": exif}))
    return file.getvalue()


PICTURES = {kind: encoded(kind) for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM")}
PICTURES |= {
    "progressive": encoded("JPEG", progressive=True),
    "deflated": encoded("TIFF", compression="tiff_adobe_deflate"),
}
FILES = {f"{label}/{number}.png": PICTURES["PNG"] for label in ("ant", "bee") for number in range(2)}


def archive(suffix: str) -> bytes:
    file = io.BytesIO()
    if suffix == ".zip":
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
            for name, data in FILES.items():
                packed.writestr(name, data)
        return file.getvalue()
    with tarfile.open("x", f"w:{suffix[5:]}", file) as tar:  # type: ignore[call-overload]
        for name, data in FILES.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return file.getvalue()


ARCHIVES = {suffix: archive(suffix) for suffix in (".zip", ".tar", ".tar.gz", ".tar.bz2", ".tar.xz")}
TABLE = b"path,label,split\n" + b"".join(f"{name},{name[:3]},train\n".encode() for name in FILES)
CARD = b"name: Insects\nfolder: .\nlicence: CC0-1.0\nhomepage: https://example.org\nclass_names: {ant: Ant, bee: Bee}\n"


def one_short_reason(error: Exception) -> None:
    assert "\n" not in str(error)
    assert 0 < len(str(error)) < LONGEST


@pytest.mark.parametrize("kind", PICTURES)
@FUZZ
@given(edits=EDITS)
def test_a_picture_is_decoded_or_rejected(kind, edits):
    data = edited(PICTURES[kind], edits)
    upright_size(data)
    stored_size(data)
    try:
        assert decode(data, Framing(16, "crop", 18)).shape == (16, 16, 3)
    except BadImage as error:
        one_short_reason(error)


@pytest.mark.parametrize("suffix", ARCHIVES)
@FUZZ
@given(edits=EDITS)
def test_an_archive_is_read_or_rejected(suffix, edits):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"x{suffix}"
        path.write_bytes(edited(ARCHIVES[suffix], edits))
        try:
            tree = open_tree(path)
            for _, extent in tree.extents(tree.files):
                extent.read()
        except (DarkroomError, BadImage) as error:
            one_short_reason(error)


def read_source(name: str, data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for picture, pixels in FILES.items():
            (Path(folder) / picture).parent.mkdir(exist_ok=True)
            (Path(folder) / picture).write_bytes(pixels)
        (Path(folder) / name).write_bytes(data)
        (Path(folder) / "raw").mkdir()
        try:
            options = load(FetchParams, ROOT / "params.yaml").options()
            open_source(Path(folder) / name, Path(folder) / "raw", options, from_environment())
        except DarkroomError as error:
            one_short_reason(error)


def table(suffix: str) -> bytes:
    file, frame = io.BytesIO(), pd.read_csv(io.BytesIO(TABLE))
    if suffix == ".xlsx":
        frame.to_excel(file, index=False)
    elif suffix == ".parquet":
        frame.to_parquet(file)
    else:
        frame.to_json(file, orient="records", lines=suffix == ".jsonl")
    return TABLE if suffix == ".csv" else file.getvalue()


TABLES = {suffix: table(suffix) for suffix in (".csv", ".json", ".jsonl", ".xlsx", ".parquet")}


@pytest.mark.parametrize("suffix", TABLES)
@FUZZ
@given(edits=EDITS)
def test_a_table_is_read_or_rejected(suffix, edits):
    read_source(f"labels{suffix}", edited(TABLES[suffix], edits))


@FUZZ
@given(edits=EDITS)
def test_a_card_is_read_or_rejected(edits):
    read_source("card.yaml", edited(CARD, edits))


@FUZZ
@given(edits=EDITS)
def test_yaml_is_read_or_rejected(edits):
    try:
        yaml12.parse(edited((ROOT / "params.yaml").read_bytes(), edits).decode("utf-8", "replace"))
    except yaml12.YAMLError as error:
        one_short_reason(error)


@FUZZ
@given(edits=EDITS)
def test_a_file_of_tensors_is_mapped_or_rejected(edits):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.safetensors"
        tensors = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(4, np.uint8)}
        tensorfile.write(path, tensors, {"classes": ["ant", "bee"]})
        path.write_bytes(edited(path.read_bytes(), edits))
        for read in (tensorfile.mapped, tensorfile.facts):
            try:
                read(path)
            except ValueError as error:
                one_short_reason(error)


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    model = small.export(tmp_path_factory.mktemp("model") / "export", ["ant", "bee"], size=16)
    with TestClient(create_app(Predictor(model, 1))) as opened:
        yield opened


FORM = (
    b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
    + PICTURES["PNG"] + b"\r\n--x--\r\n"
)  # fmt: skip


@FUZZ
@given(edits=EDITS)
@example(edits=[])
def test_a_form_is_answered_with_json(client, edits):
    body = edited(FORM, edits)
    for path in ("/predict", "/predict?top=1", "/explain"):
        answer = client.post(path, content=body, headers={"content-type": "multipart/form-data; boundary=x"})
        assert answer.status_code in (200, 400, 413, 415, 422, 503)
        if answer.headers["content-type"].startswith("application/json"):
            json.loads(answer.content)
