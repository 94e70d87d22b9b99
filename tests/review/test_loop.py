"""The whole loop: a run with planted wrong labels, a review by keyboard in Chromium, a second run, and the verdict."""

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from darkroom.core import files
from tests.project import ROOT, Project
from tests.review.pages import (
    another_comes,
    correct_by_keyboard,
    in_hand,
    press,
    wait_for_errors,
    wait_until_saved,
)
from tests.review.run import decisions, reviewing, write_digits

SHOWN = 0.15  # share of all images that a person looks at
WRONG = 30
LEARNT, TUNED = 50, 30  # photos: few enough that 30 wrong labels among them cost accuracy beyond doubt
CATS_AND_DOGS = 500  # of the 1,000: the loop takes a minute then
LAST = "evaluate"  # the stage up to which a run is needed here: nothing is served


def photos(kind: str, shared: Path) -> list[tuple[Path, str]]:
    """Return the photos of a real data set with their labels."""
    if kind == "hymenoptera":
        return [(path, path.parent.name) for path in sorted((shared / "data/hymenoptera").rglob("*.jpg"))]
    return [(path, path.name.partition(".")[0])
            for path in sorted((shared / "data/dogs-vs-cats").rglob("*.jpg"))][:: 1000 // CATS_AND_DOGS]  # fmt: skip


def write_source(folder: Path, found: list[tuple[Path, str]], seed: int) -> dict[str, str]:
    """Write photos and labels.csv: LEARNT train, TUNED val, WRONG of these mislabelled; the rest are the test set.

    Returns the true label of each photo that is labelled wrongly.
    """
    folder.mkdir()
    random = np.random.default_rng(seed)
    order = random.permutation(len(found))
    splits = dict(
        zip(
            order.tolist(), ["train"] * LEARNT + ["val"] * TUNED + ["test"] * (len(found) - LEARNT - TUNED), strict=True
        )
    )
    wrong = set(random.permutation(order[: LEARNT + TUNED])[:WRONG].tolist())
    classes, planted = sorted({label for _, label in found}), {}
    with (folder / "labels.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("path", "label", "split"))
        for number, (path, label) in enumerate(found):
            name = f"{number:04d}.jpg"
            shutil.copy(path, folder / name)
            given = classes[1 - classes.index(label)] if number in wrong else label
            table.writerow((name, given, splits[number]))
            if number in wrong:
                planted[name] = label
    return planted


def review_and_run_again(project: Project, planted: dict[str, str], images: int, open_page) -> str:
    """Run, review by keyboard, run again; return what `darkroom compare` says. Checks what was found."""
    project.dvc("repro", LAST)
    project.commit("A run with wrong labels")
    with reviewing(project.folder) as review:
        page = open_page(review.url)
        wait_for_errors(page)
        started = time.monotonic()
        shown, keys = correct_by_keyboard(page, planted, most=int(SHOWN * images))
        rate = shown / (time.monotonic() - started) * 60
        wait_until_saved(page, shown)
    made = decisions(project.folder)
    found = [name for name, label in planted.items() if made.get(name) == ("relabel", label)]
    print(f"{len(found)} of {len(planted)} found in {shown} of {images} pictures; {keys} keys, {rate:.0f} a minute")
    assert len(found) >= 0.8 * len(planted)
    assert keys == shown  # one key a decision
    again = project.dvc("repro", LAST).stdout
    assert "Stage 'preprocess' didn't change, skipping" in again
    assert "Stage 'embed' didn't change, skipping" in again
    return project.run(sys.executable, "-m", "darkroom.cli", "compare", "HEAD").stdout


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["hymenoptera", "dogs-vs-cats"])
def test_thirty_wrong_labels_of_real_photos_are_found_and_the_verdict_finds_the_gain(kind, shared, tmp_path, open_page):
    project = Project(tmp_path)
    found = photos(kind, shared)
    planted = write_source(tmp_path / "photos", found, seed=0)
    weights = shared / "weights/mobilenet_v2.pth"
    project.set(
        source="photos/labels.csv", backbone="mobilenet_v2", weights=weights, augment="none", arithmetic="float32"
    )
    said = review_and_run_again(project, planted, len(found), open_page)
    print(said[:800])
    assert "🟢 better: accuracy +" in said
    assert re.search(r"Data: \d+ relabelled \(\d+ train, \d+ val\)", said)
    assert "Test set:" not in said  # no label of it was changed


@pytest.mark.slow
def test_the_five_commands_of_the_docs_pasted_whole_find_wrong_labels_and_tell_both_labels_figures(tmp_path, open_page):
    project = Project(tmp_path / "project")
    planted = write_digits(project.folder / "photos", 600, WRONG)
    write_digits(project.folder / "new_photos", 60, 0, first=600)
    project.set(source="photos", views=0, augment="none")
    (project.folder / "dvc.lock").write_text("schema: '2.0'\n")  # as a clone has it: in Git
    project.commit("My photos")
    opened, browser = tmp_path / "opened", tmp_path / "browser"  # what `darkroom review` opens the page with
    browser.write_text(f'#!/bin/sh\necho "$PPID $1" > {opened}.part && mv {opened}.part {opened}\n')
    browser.chmod(0o755)
    text = (ROOT / "docs/better-data.md").read_text().partition("\n## ")[0]
    (block,) = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    shell = subprocess.Popen(
        ["bash", "-e", "-c", block], cwd=project.folder, env=project.environment | {"BROWSER": f"{browser} %s"},
        text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    while not opened.exists():
        time.sleep(0.1)
        assert shell.poll() is None, shell.communicate()[0]
    process, url = opened.read_text().split()
    page = open_page(url)
    wait_for_errors(page)
    shown, keys = correct_by_keyboard(page, planted, most=int(SHOWN * 600))
    wait_until_saved(page, shown)
    made = decisions(project.folder)
    os.kill(int(process), signal.SIGINT)
    said = shell.communicate()[0]
    assert shell.returncode == 0, said  # Ctrl+C ends the review, not what was pasted after it
    assert f"corrections.csv has {shown} decisions" in said
    found = [name for name, label in planted.items() if made.get(name) == ("relabel", label)]
    assert (keys, len(found) >= 0.8 * len(planted)) == (shown, True)
    assert re.search(r"Data: \d+ relabelled \(\d+ train, \d+ val, \d+ test\)", said)
    old, new = map(float, re.search(r"under the labels before, accuracy is ([\d.]+) → ([\d.]+)", said).groups())
    right = re.search(r"^accuracy +([\d.]+) +([\d.]+)", said, re.MULTILINE)
    assert float(right[2]) > new  # corrected labels agree with the answers better than wrong ones
    assert float(right[1]) > old
    assert "50 of 60 photos to label next, the most useful first" in said


@pytest.mark.slow
def test_photos_to_label_next_are_labelled_on_the_page_and_only_train(tmp_path, open_page):
    project = Project(tmp_path)
    write_digits(tmp_path / "photos", 400, 0)
    write_digits(tmp_path / "sorted", 200, 0, first=400)
    (tmp_path / "new").mkdir()
    truth = {}
    for path in sorted((tmp_path / "sorted").rglob("*.png")):
        truth[path.name] = path.parent.name
        path.rename(tmp_path / "new" / path.name)
    (tmp_path / "new/broken.jpg").write_bytes(b"no picture")
    project.set(source="photos", views=0, augment="none")
    project.dvc("repro", LAST)
    before = splits_of(project)
    said = project.run(sys.executable, "-m", "darkroom.cli", "next", "new", "--count", "12").stderr
    assert "12 of 200 photos to label next" in said
    with reviewing(project.folder) as review:
        page = open_page(review.url, "#next/0")
        page.locator(".tile").first.wait_for()
        made, near = {}, []  # whether the image most alike has the label that the photo should get
        for number in range(12):
            here = in_hand(page)
            page.locator("#nearest figure").nth(7).wait_for()
            near.append(truth[here] in page.locator("#nearest figcaption").first.inner_text().split())
            label = truth[here] if number else "a new class"
            press(page, "r")
            page.keyboard.type(label)
            press(page, "Enter")
            made[here] = label
            if number < 11:
                assert another_comes(page, here)
        page.locator("#queues", has_text="Label next✓").wait_for()
    assert sum(near) >= 6  # photos that the model is unsure about: of ten classes one in ten would be so by chance
    rows = list(files.read_csv(tmp_path / "added/photos.csv"))
    assert sorted(row["becomes"] for row in rows) == sorted(made.values())
    assert all((tmp_path / "added" / row["id"]).is_file() for row in rows)
    shutil.rmtree(tmp_path / "new")  # the copies stay
    project.dvc("repro", LAST)
    after = splits_of(project)
    assert {name: split for name, split in after.items() if name in before} == before
    new = [split for name, split in after.items() if name not in before]
    assert (len(new), set(new) - {"dropped"}) == (12, {"train"})
    assert "a new class" in (tmp_path / "plots/predictions.csv").read_text().splitlines()[0]
    shutil.copytree(tmp_path / "sorted", tmp_path / "new")
    again = project.run(sys.executable, "-m", "darkroom.cli", "next", "new", check=False).stderr
    assert "holds no image; expected files such as photo.jpg in it" in again
    (tmp_path / "broken").mkdir()
    whole = next((tmp_path / "photos").rglob("*.png")).read_bytes()
    for name in (b"1.png", b"caf\xe9.png"):
        (tmp_path / "broken" / os.fsdecode(name)).write_bytes(whole[: len(whole) - 30])
    said = project.run(sys.executable, "-m", "darkroom.cli", "next", "broken", check=False).stderr
    assert "1 photos have names that are not UTF-8 and are left out" in said
    assert "broken: none of 2 photos can be read; `darkroom predict broken` says of each why" in said


@pytest.mark.slow
def test_a_folder_without_labels_is_grouped_named_on_the_page_and_trained(shared, tmp_path, open_page):
    project = Project(tmp_path)
    truth, folder = {}, tmp_path / "mixed"
    folder.mkdir()
    found = photos("hymenoptera", shared)[::10] + photos("dogs-vs-cats", shared)[::14]
    for number, (path, label) in enumerate(found):
        shutil.copy(path, folder / f"{number:03d}.jpg")
        truth[f"mixed/{number:03d}.jpg"] = label
    write_digits(tmp_path / "digits", 30, 0)
    for path in sorted((tmp_path / "digits").rglob("*.png")):
        path.rename(folder / path.name)
        truth[f"mixed/{path.name}"] = "digit"
    project.set(backbone="mobilenet_v2", weights=shared / "weights/mobilenet_v2.pth", augment="none",
                arithmetic="float32")  # fmt: skip
    said = project.run(sys.executable, "-m", "darkroom.cli", "group", "mixed").stderr
    assert f"{len(truth)} photos in " in said
    groups = {row["path"]: row["label"] for row in files.read_csv(tmp_path / "mixed.csv")}
    assert groups.keys() == truth.keys()
    again = project.run(sys.executable, "-m", "darkroom.cli", "group", "mixed", check=False).stderr
    assert "mixed.csv exists already; --replace writes other groups into it" in again
    project.set(source="mixed.csv")
    project.dvc("repro", LAST)
    names = {}  # of each group, what most of its photos show
    for group in sorted(set(groups.values())):
        labels = Counter(truth[path] for path, its in groups.items() if its == group)
        names[group] = labels.most_common(1)[0][0]
    assert set(names.values()) >= {"digit", "cat", "dog"}
    with reviewing(tmp_path) as review:
        page = open_page(review.url)
        for group, name in names.items():
            page.locator("#classes").get_by_role("button", name=group).click()
            page.locator("#title", has_text=group).wait_for()
            press(page, "m")
            page.keyboard.type(name)
            press(page, "Enter")
            page.get_by_text(f"{group} is {name} now").wait_for()
    project.dvc("repro", LAST)
    answers = list(files.read_csv(tmp_path / "plots/predictions.csv"))
    locations = {row["id"]: row["location"] for row in files.read_csv(tmp_path / "data/index.csv")}
    right = [row["predicted"] == truth[locations[row["id"]]] for row in answers]
    print(f"{len(names)} groups named; {sum(right)} of {len(right)} test photos answered rightly")
    assert sum(right) >= 0.8 * len(right)


def splits_of(project: Project) -> dict[str, str]:
    """Return the split of each image of the run."""
    return {row["id"]: row["split"] for row in files.read_csv(project.folder / "data/split.csv")}
