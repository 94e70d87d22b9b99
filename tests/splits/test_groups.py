from darkroom.splits.groups import groups_of


def row(name: str, group: str = "", copy: str = "") -> dict[str, str]:
    return {"id": name, "group": group, "duplicate_of": copy}


def test_only_images_that_have_company_have_a_group():
    rows = [
        row("a", "bird"),
        row("b", "bird"),
        row("c", copy="a"),
        row("d"),
        row("e", copy="d"),
        row("f"),
        row("g", "x"),
    ]
    found = groups_of(rows, rows)
    assert found == {"a": "bird", "b": "bird", "c": "bird", "d": "d", "e": "d"}


def test_images_that_all_stand_alone_have_none():
    rows = [row("a"), row("b", "own")]
    assert groups_of(rows, rows) == {}
