import io

import numpy as np
import pytest

from darkroom.core.errors import DarkroomError
from darkroom.metrics.predictions import Predictions, read_predictions, write_predictions


def test_predictions_come_back_as_they_were_written(tmp_path):
    probabilities = np.array([[0.25, 0.75], [1.0, 1e-9], [np.nan, 0.5]])
    written = Predictions.of(["aa", "bb", "cc"], ['owl, "tawny"', "çay"], np.array([1, 1, 0]), probabilities)
    path = tmp_path / "predictions.csv"
    write_predictions(path, written)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[:2] == [
        'id,label,predicted,"owl, ""tawny""",çay',
        "aa,çay,çay,0.25,0.75",
    ]
    with path.open(encoding="utf-8", newline="") as file:
        read = read_predictions(file, "predictions.csv")
    assert (read.ids, read.classes) == (written.ids, written.classes)
    assert read.labels.tolist() == [1, 1, 0]
    assert read.predicted.tolist() == [1, 0, -1]
    assert read.probabilities == pytest.approx(written.probabilities, nan_ok=True)
    assert np.isnan(read.probabilities[2]).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected the columns id,label,predicted"),
        ("id,label,cat,dog\n", "expected the columns id,label,predicted"),
        ("id,label,predicted,cat\na,cow,cat,1\n", "p.csv, line 2: 'cow' does not fit"),
        ("id,label,predicted,cat\na,cat,cat,much\n", "line 2: could not convert"),
        ("id,label,predicted,cat\na,cat,cat,1,2\n", "line 2: 5 cells"),
        ("id,label,predicted,cat\na\n", "line 2: 1 cells"),
        ("id,label,predicted,cat\na,cat,cat,1\n\n", "line 3: 0 cells"),
        ("id,label,predicted,cat\na,,,\n", "line 2: '' does not fit"),  # no label and no answer are not the same class
        ("id,label,predicted,cat,dog,cat\na,cat,cat,1,0,0\n", "the class 'cat' has two columns"),
        ("id,label,predicted,cat,dog\na,cat,dog,-0.2,1.2\n", "line 2: the probability -0.2 of an answer, expected"),
        ("id,label,predicted,cat,dog\na,cat,dog,inf,0\n", "line 2: the probability inf"),
        ("id,label,predicted,cat,dog\na,cat,dog,nan,1\n", "line 2: the probability nan"),
        ("id,label,predicted,cat,dog\na,cat,,,1\n", "line 2: the probability 1, without a predicted class"),
        ("id,label,predicted,cat,dog\na,cat,dog,0.9,0.9\n", "line 2: the probabilities sum to 1.8, expected 1"),
        ("id,label,predicted,cat\na,cat,cat,1\nb,cat,cat,1\na,cat,cat,1\n", "line 4: line 2 has the id a, too"),
    ],
)
def test_a_file_of_another_kind_is_refused_by_line(text, message):
    with pytest.raises(DarkroomError, match=message):
        read_predictions(io.StringIO(text), "p.csv")


@pytest.mark.parametrize("classes", [["cat", "dog"], ["group", "dog"]])
@pytest.mark.parametrize("groups", [["a", "", "a"], ["a", "b", "c"], []])
def test_the_group_has_a_column_only_where_images_belong_together(tmp_path, classes, groups):
    written = Predictions.of(["1", "2", "3"], classes, np.array([0, 1, 0]), np.tile([0.5, 0.5], (3, 1)), groups)
    path = tmp_path / "predictions.csv"
    write_predictions(path, written)
    header = path.read_text().splitlines()[0].split(",")
    together = groups == ["a", "", "a"]
    assert header == ["id", "label", "predicted", *(["group"] if together or classes[0] == "group" else []), *classes]
    with path.open(encoding="utf-8", newline="") as file:
        read = read_predictions(file, "predictions.csv")
    assert read.classes == classes
    assert read.probabilities.shape == (3, 2)
    assert (read.group.tolist() if read.group is not None else None) == ([0, 1, 0] if together else None)
