"""Labels of other tools: what becomes a decision, what is reported, and what this run hands out."""

import csv
import json

import pytest

from darkroom.core import files
from darkroom.core.errors import DarkroomError
from darkroom.review.exchange import main, read_statements
from tests.review.run import decisions, finish_run


def written(path, content) -> None:
    """Write rows as CSV, or anything else as JSON."""
    if path.suffix == ".json":
        path.write_text(json.dumps(content))
        return
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(content)


def task(image: str, *choices: str, **facts) -> dict:
    """Return a task of Label Studio as it exports it."""
    result = [{"type": "choices", "from_name": "c", "to_name": "i", "value": {"choices": list(choices)}}]
    return {"id": 1, "data": {"image": image}, "annotations": [{"result": result} | facts]}


@pytest.fixture
def first(run, monkeypatch) -> list[str]:
    """Return the names of the images in the folder of threes; the test is in the folder of the run."""
    monkeypatch.chdir(run)
    return sorted(path.name for path in (run / "pictures/3").iterdir())


def test_tasks_of_label_studio_become_decisions(run, first, capsys):
    written(run / "ls.json", [
        task(f"/data/upload/7/0a1b2c3d-{first[0]}", "5"),
        task(f"/data/local-files/?d=photos/3/{first[1]}", "3"),
        task(f"s3://bucket/3/{first[2]}", "5", was_cancelled=True),
        {"id": 4, "image": f"3/{first[3]}", "choice": "a new class"},
        task("somewhere/else.png", "5"),
        task(f"3/{first[4]}", "3", "8"),
    ])  # fmt: skip
    assert main(["import", "ls.json"]) == 0
    assert decisions(run) == {
        f"3/{first[0]}": ("relabel", "5"), f"3/{first[1]}": ("keep", ""), f"3/{first[3]}": ("relabel", "a new class"),
        f"3/{first[4]}": ("unsure", ""),
    }  # fmt: skip
    said = capsys.readouterr().err
    assert "4 decisions more: 2 relabelled, 1 kept, 1 to look at" in said
    assert "Label Studio: 3, 8" in (run / "corrections.csv").read_text()
    assert "note: 1 fit no image of this run, or several: somewhere/else.png" in said


def test_labels_of_fiftyone_by_number_and_by_name(run, first):
    stems = [name.removesuffix(".png") for name in first]
    written(run / "labels.json", {"classes": ["3", "8"], "labels": {f"3/{stems[0]}": 1, stems[1]: 0, stems[2]: None}})
    written(run / "labels.csv", [("filepath", "ground_truth"), (f"/home/me/3/{first[3]}", "9")])
    main(["import", "labels.json"])
    main(["import", "labels.csv"])
    assert decisions(run) == {f"3/{first[0]}": ("relabel", "8"), f"3/{first[3]}": ("relabel", "9")}


def test_issues_of_cleanlab_are_to_be_looked_at_and_corrected_ones_are_decided(run, first, capsys):
    written(run / "issues.csv", [
        ("location", "is_label_issue", "label_score", "given_label", "predicted_label", "corrected_label"),
        (f"3/{first[0]}", "True", "0.02", "3", "5", ""),
        (f"3/{first[1]}", "False", "0.99", "3", "3", ""),
        (f"3/{first[2]}", "True", "0.01", "3", "5", "8"),
    ])  # fmt: skip
    main(["import", "issues.csv"])
    assert decisions(run) == {f"3/{first[0]}": ("unsure", ""), f"3/{first[2]}": ("relabel", "8")}
    assert "cleanlab: 5? (score 0.02)" in (run / "corrections.csv").read_text()


def test_decisions_that_are_there_stay_and_contradictions_are_reported(run, first, capsys):
    written(run / "a.json", [task(first[0], "5")])
    written(run / "b.json", [task(first[0], "8"), task(first[1], "8"), task(first[1], "9")])
    main(["import", "a.json"])
    main(["import", "b.json"])
    assert decisions(run) == {f"3/{first[0]}": ("relabel", "5")}
    said = capsys.readouterr().err
    assert "note: 1 have two labels in the file, and none was taken" in said
    assert "note: 1 were decided otherwise here before, which stays" in said


@pytest.mark.parametrize("form", ["label-studio", "fiftyone", "cleanlab"])
def test_what_is_handed_out_and_comes_back_untouched_decides_nothing(run, first, form, capsys):
    written(run / "a.json", [task(first[0], "5")])
    main(["import", "a.json"])
    out = run / ("out.csv" if form == "cleanlab" else "out.json")
    main(["export", out.name, "--to", form])
    main(["import", out.name])
    assert decisions(run) == {f"3/{first[0]}": ("relabel", "5")}
    (run / "corrections.csv").unlink()
    main(["import", out.name])  # where it is not known, a list of all labels says what differs from the source
    assert decisions(run) == ({} if form == "label-studio" else {f"3/{first[0]}": ("relabel", "5")})
    assert form == "label-studio" or "399 labels equal the present ones" in capsys.readouterr().err


def test_a_task_that_a_person_has_submitted_is_a_decision_also_where_the_label_stays(run, first):
    main(["export", "out.json", "--to", "label-studio"])
    tasks = json.loads((run / "out.json").read_text())
    for number, label in enumerate((tasks[0]["predictions"][0]["result"][0]["value"]["choices"][0], "a new class")):
        result = tasks[number]["predictions"][0]["result"] if not number else [{"value": {"choices": [label]}}]
        tasks[number]["annotations"] = [{"result": result}]
    written(run / "out.json", tasks)
    main(["import", "out.json"])
    assert sorted(decisions(run).values()) == [("keep", ""), ("relabel", "a new class")]


def test_the_same_bytes_under_two_labels_get_the_label_that_the_tool_gives_them(run, first):
    (run / "pictures/5/again.png").write_bytes((run / "pictures/3" / first[0]).read_bytes())
    finish_run(run)
    written(run / "a.json", [task(f"3/{first[0]}", "3"), task("5/again.png", "3")])
    main(["import", "a.json"])
    (row,) = files.read_csv(run / "corrections.csv")
    assert (row["decision"], row["becomes"]) == ("relabel", "3")  # to keep would leave each copy its own


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "[1", "a.json, line 1, column 3: .*expected JSON"),
        ("a.json", "[1]", "expected Label Studio's list of tasks, or FiftyOne's object"),
        ("a.json", '{"labels": {"x": 7}, "classes": ["a"]}', "label of 'x': 7 is not the number of one"),
        ("a.json", '[{"data": 3}]', "task 1 is not as Label Studio exports it"),
        ("a.json", '[{"data": {"image": "a"}, "annotations": [7]}]', "task 1 is not as Label Studio exports it"),
        ("a.json", '[{"data": {}, "annotations": [{"result": [{"value": null}]}]}]', "task 1 is not as Label Studio"),
        ("a.csv", "x,y\n1,2\n", "its columns are x, y; expected one of sha256"),
        ("a.csv", "location,label\na.png\n", "line 2: 1 columns, expected 2"),
        ("a.csv", "", "its columns are missing"),
    ],
)
def test_what_is_neither_is_named_in_one_line(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(DarkroomError, match=message) as raised:
        read_statements(tmp_path / name)
    assert "\n" not in str(raised.value)
