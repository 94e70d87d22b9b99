import numpy as np
import onnx
import pytest

from darkroom.core.errors import DarkroomError
from darkroom.model.session import open_session
from tests.export import small


@pytest.mark.parametrize("as_bytes", [False, True], ids=["file", "bytes"])
def test_a_model_that_reads_weights_from_another_file_is_rejected(tmp_path, monkeypatch, as_bytes):
    path = tmp_path / "model.onnx"
    onnx.save_model(
        small.body(), path, save_as_external_data=True, all_tensors_to_one_file=True, location="w", size_threshold=0
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DarkroomError, match=r"cannot be loaded: .*; run `dvc repro -f export`$"):
        open_session(path.read_bytes() if as_bytes else path)


def test_a_whole_model_answers(tmp_path):
    session = open_session(small.body().SerializeToString(), threads=1)
    features, _ = session.run(None, {"images": np.zeros((2, 16, 16, 3), np.uint8)})
    assert features.shape == (2, 8)
