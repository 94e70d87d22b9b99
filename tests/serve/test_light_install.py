"""Predict and serve with no package but those of requirements-serve.lock, and where Unix's modules do not exist."""

import os
import re
import subprocess
import sys

import pytest

from tests.serve.conftest import ROOT

# What the pipeline has and a server does not: an import of one of them fails as if it were not installed.
PIPELINE = ("torch", "torchvision", "dvc", "sklearn", "scipy", "pandas", "matplotlib", "onnx", "safetensors", "yaml")
UNIX = ("resource", "fcntl", "pwd", "grp", "termios")
BLOCK = f"import sys; sys.modules.update(dict.fromkeys({PIPELINE + UNIX})); "


def python(code: str, *arguments: object) -> str:
    command = [sys.executable, "-c", BLOCK + code, *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_predictor_classifies(exported, photos):
    code = "from darkroom.app import Predictor; print(Predictor(sys.argv[1])(sys.argv[2]).label)"
    assert python(code, exported, photos / "china.jpg") in ("china", "flower", "<b>other</b>")


def test_predict_classifies(exported, photos):
    code = "from darkroom.cli import main; sys.exit(main(sys.argv[1:]))"
    assert python(code, "predict", "--model", exported, photos / "china.jpg").startswith(f"{photos / 'china.jpg'}: ")


@pytest.mark.parametrize("path", ["/predict", "/explain", "/model", "/"])
def test_the_service_answers(exported, photos, path):
    code = (
        "import asyncio; from pathlib import Path; import httpx;"
        "from darkroom.app import Predictor; from darkroom.serve.application import create_app;\n"
        "async def ask():\n"
        "    app = create_app(Predictor(sys.argv[1]))\n"
        "    async with app.router.lifespan_context(app):\n"
        "        transport = httpx.ASGITransport(app)\n"
        "        async with httpx.AsyncClient(transport=transport, base_url='http://test') as client:\n"
        "            data = Path(sys.argv[2]).read_bytes()\n"
        "            method = 'POST' if sys.argv[3] in ('/predict', '/explain') else 'GET'\n"
        "            headers = {'content-type': 'image/jpeg'}\n"
        "            answer = await client.request(method, sys.argv[3], content=data, headers=headers)\n"
        "            print(answer.status_code)\n"
        "if __name__ == '__main__':\n"
        "    asyncio.run(ask())\n"
    )
    assert python(code, exported, photos / "china.jpg", path) == "200"


def test_the_locked_packages_are_few_and_none_of_them_is_the_pipelines():
    names = re.findall(r"^([a-z0-9._-]+)==", (ROOT / "requirements-serve.lock").read_text(), re.MULTILINE)
    assert len(names) <= 35
    assert not {name for name in names if name.startswith(("nvidia", "cuda", "torch", "dvc", "scikit", "triton"))}
