import subprocess
from pathlib import Path

from darkroom.reporting.runs import MANY_MODELS, models_that_answered, warning_of_many


def git(root: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True)


def answer(root: Path, ids: str, probability: float, label: str = "cat") -> None:
    rows = "".join(f"{name},{label},cat,{probability},{1 - probability}\n" for name in ids)
    (root / "plots").mkdir(exist_ok=True)
    (root / "plots/predictions.csv").write_text(f"id,label,predicted,cat,dog\n{rows}")


def test_different_answers_to_the_same_images_are_counted_wherever_git_has_them(tmp_path):
    git(tmp_path, "init", "-q")
    for number, (ids, probability) in enumerate((("ab", 0.5), ("ab", 0.6), ("abc", 0.7), ("ab", 0.5), ("ab", 0.8))):
        answer(tmp_path, ids, probability)
        git(tmp_path, "add", ".")
        git(tmp_path, "commit", "-q", "-m", str(number))
    git(tmp_path, "update-ref", "refs/exps/aa/bb/experiment", "HEAD")
    git(tmp_path, "reset", "-q", "--hard", "HEAD~1")
    assert models_that_answered(tmp_path) == 3  # 0.5 twice, 0.6, and 0.8 of the experiment; not the other test set
    answer(tmp_path, "ba", 0.9)
    assert models_that_answered(tmp_path) == 4


def test_a_corrected_or_excluded_test_image_is_no_other_model_and_no_other_test_set(tmp_path):
    git(tmp_path, "init", "-q")
    for number, (ids, probability) in enumerate((("abcdefghij", 0.5), ("abcdefghij", 0.6), ("abcdef", 0.7))):
        answer(tmp_path, ids, probability)
        git(tmp_path, "add", ".")
        git(tmp_path, "commit", "-q", "-m", str(number))
    answer(tmp_path, "abcdefghij", 0.6, label="dog")
    assert models_that_answered(tmp_path) == 2
    answer(tmp_path, "abcdefghi", 0.6)  # j was excluded
    assert models_that_answered(tmp_path) == 2


def test_without_git_or_answers_nothing_is_counted(tmp_path):
    assert models_that_answered(tmp_path) == 0
    answer(tmp_path, "ab", 0.5)
    assert models_that_answered(tmp_path) == 1


def test_few_looks_are_no_matter_and_many_are_said():
    assert warning_of_many(MANY_MODELS - 1) == ""
    assert warning_of_many(1200).startswith("1,200 different models have answered this test set")
