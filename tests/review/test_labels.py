"""Labels that are odd: one file under two of them, blanks and accents that differ, very long names."""

from pathlib import Path

import httpx
from PIL import Image

from tests.review.pages import in_hand, press, wait_until_saved
from tests.review.run import decisions, finish_run, reviewing, write_digits


def test_one_file_under_two_labels_gets_one_decision(tmp_path):
    write_digits(tmp_path / "pictures", 60, 0)
    picture = next((tmp_path / "pictures/3").iterdir())
    (tmp_path / "pictures/5" / "again.png").write_bytes(picture.read_bytes())
    finish_run(tmp_path)
    with reviewing(tmp_path) as review, httpx.Client(base_url=review.url, headers={"origin": review.base}) as client:
        pair = client.get("queue?name=conflicts&open=true").json()["items"]
        assert sorted(item["was"] for item in pair) == ["3", "5"]
        both = [{"id": item["id"], "decision": "keep"} for item in pair]
        answer = client.post("decide", json={"changes": both})
        assert answer.status_code == 409
        assert "is the same file as another one that is selected, under another label" in answer.json()["error"]
        assert decisions(tmp_path) == {}
        answer = client.post("decide", json={"changes": both[:1]}).json()
        (copy,) = answer["copies"]
        assert (copy["id"], copy["label"], copy["decision"]) == (pair[1]["id"], pair[0]["was"], "relabel")
        assert client.get("queue?name=conflicts&open=true").json()["items"] == []


def test_a_label_that_differs_in_its_blanks_or_accents_is_the_class_that_is_there(tmp_path, open_page):
    names = ["a\u00a0b", "cafe\u0301", "👨\u200d👩"]
    write_digits(tmp_path / "digits", 90, 0)
    (tmp_path / "pictures").mkdir()
    for digit, name in enumerate(names):
        (tmp_path / "digits" / str(digit)).rename(tmp_path / "pictures" / name)
    finish_run(tmp_path)
    with reviewing(tmp_path) as review:
        page = open_page(review.url, "#uncertain/0")
        page.locator("#answers .bar").first.wait_for(timeout=180_000)
        for place, typed in enumerate(("a\u00a0b", "caf\u00e9", "👨\u200d👩")):
            here = in_hand(page)
            press(page, "r")
            page.keyboard.insert_text(typed)
            assert page.locator("#matches li").all_inner_texts() == [names[place]]
            press(page, "Enter")
            wait_until_saved(page, place + 1)
            made = decisions(tmp_path)[here]
            assert made in {("relabel", names[place]), ("keep", "")}
            assert (made[0] == "keep") == (Path(here).parts[0] == names[place])


def test_a_class_of_a_very_long_name_can_be_reviewed(tmp_path):
    long = "x" * 250
    for shade, name in ((0, long), (90, "short")):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number in range(12):
            picture = Image.linear_gradient("L").rotate(shade + number).resize((40, 40))
            picture.save(tmp_path / "pictures" / name / f"{number}.png")
    finish_run(tmp_path)
    with reviewing(tmp_path) as review, httpx.Client(base_url=review.url, headers={"origin": review.base}) as client:
        first = client.get("queue", params={"name": "class:short"}).json()["items"][0]["id"]
        change = {"id": first, "decision": "relabel", "becomes": long, "queue": f"class:{long}"}
        assert client.post("decide", json={"changes": [change]}).status_code == 200
        assert [becomes for _, becomes in decisions(tmp_path).values()] == [long]
