"""Annotations in JSON as tools and people write them: which image has which label, or why none has."""

import pytest

from tests.sources.planting import CANNOT_TELL, FOUR, TWO_TWO, assert_read, four, plant, write_tables

# what it is: (the tree, the files by name, "class images, …" or "!reason", a part of a note)
FILES = {
    "a dictionary in json": (
        FOUR, {"labels.json": '{"1.jpg": "cat", "2.jpg": "cat", "3.jpg": "dog", "4.jpg": "dog"}'}, TWO_TWO, ""),
    "records in json": (
        FOUR, {"labels.json": '[{"image": "1.jpg", "label": "cat"}, {"image": "2.jpg", "label": "cat"},'
                              ' {"image": "3.jpg", "label": "dog"}, {"image": "4.jpg", "label": "dog"}]'}, TWO_TWO, ""),
    "boxes of coco": (FOUR, {"annotations.json": '{"images": [{"id": 1, "file_name": "1.jpg"}, {"id": 2, "file_name":'
        ' "2.jpg"}], "annotations": [{"image_id": 1, "category_id": 7, "bbox": [1, 2, 3, 4]}, {"image_id": 2,'
        ' "category_id": 8, "bbox": [1, 2, 3, 4]}], "categories": [{"id": 7, "name": "cat"}, {"id": 8, "name": "dog"}]'
        '}'},
        "cat 1, dog 1", "bbox are of boxes or outlines"),
    "boxes of createml": (FOUR, {"a.json": "[" + ",".join(
        f'{{"image": "{n}.jpg", "annotations": [{{"label": "{label}", "coordinates": {{"x": 1, "y": 2, "width": 3,'
        f' "height": 4}}}}]}}' for n, label in enumerate(("cat", "cat", "dog", "dog"), 1)) + "]"},
        TWO_TWO, "x, y, width, height are of boxes"),
    "columns as pandas writes them": (FOUR, {"t.json": '{"image": {"0": "1.jpg", "1": "2.jpg", "2": "3.jpg"},'
        ' "label": {"0": "cat", "1": "dog", "2": "dog"}}'}, "cat 1, dog 2", ""),
    "coco": (FOUR, {"annotations.json": '{"images": [{"id": 1, "file_name": "1.jpg"}, {"id": 2, "file_name": "2.jpg"},'
                    '{"id": 3, "file_name": "3.jpg"}, {"id": 4, "file_name": "4.jpg"}],'
                    '"annotations": [{"image_id": 1, "category_id": 7}, {"image_id": 2, "category_id": 7},'
                    '{"image_id": 3, "category_id": 8}, {"image_id": 4, "category_id": 8}],'
                    '"categories": [{"id": 7, "name": "cat"}, {"id": 8, "name": "dog"}]}'}, TWO_TWO, ""),
    "a json of settings": ("{a,b}/{1..2}.jpg", {"config.json": '{"lr": 0.1}', "classes.json": '{"0": "a"}'},
        "a 2, b 2", ""),
    "lists of one label": (
        FOUR, {"metadata.jsonl": "".join(f'{{"file_name": "images/{n}.jpg", "labels": ["{label}"]}}\n'
                                         for n, label in enumerate(["cat", "cat", "dog", "dog"], 1))}, TWO_TWO, ""),
    "records in records": (
        FOUR, {"t.jsonl": four("", '{{"image": {{"path": "{n}.jpg", "width": 9}}, "kind": {{"label": "{label}"}}}}')},
        TWO_TWO, ""),
    "two labels in records": (
        FOUR, {"t.jsonl": four("", '{{"image": "{n}.jpg", "one": {{"label": "{label}"}}, "two": {{"label": "x"}}}}')},
        "!columns image, one.label, two.label", ""),
    "vertex": (FOUR, {"t.jsonl": four("", '{{"imageGcsUri": "gs://set/images/{n}.jpg", "classificationAnnotation":'
                      ' {{"displayName": "{label}"}}, "dataItemResourceLabels":'
                      ' {{"aiplatform.googleapis.com/ml_use": "training"}}}}')}, TWO_TWO + " | train 4", ""),
    "sagemaker": (FOUR, {"t.manifest": four("", '{{"source-ref": "s3://set/images/{n}.jpg", "job": 0, "job-metadata":'
                         ' {{"class-name": "{label}", "confidence": 1}}}}')}, TWO_TWO, ""),
    "label studio": (FOUR, {"t.json": "[" + ",".join(
        f'{{"id": {n + 2}, "data": {{"image": "/data/upload/1/0a1b2c3d-{n}.jpg"}}, "annotations": [{{"id": 7, "result":'
        f' [{{"value": {{"choices": ["{label}"]}}}}]}}]}}'
        for n, label in enumerate(("cat", "cat", "dog", "dog"), 1)) + "]"}, TWO_TWO, ""),
    "files by label": (FOUR, {"t.json": '{"cat": ["1.jpg", "2.jpg"], "dog": ["3.jpg", "4.jpg"]}'}, TWO_TWO, ""),
    "files by split": (FOUR, {"t.json": '{"train": ["1.jpg", "2.jpg"], "val": ["3.jpg", "4.jpg"]}'},
        CANNOT_TELL, ""),
    "pairs": (FOUR, {"t.json": '{"labels": [["images/1.jpg", 0], ["images/2.jpg", 0], ["images/3.jpg", 1],'
        ' ["images/4.jpg", 1]]}'}, "0 2, 1 2", ""),
    "a list among other facts": (FOUR, {"t.json": '{"version": 1, "data": [{"image": "1.jpg", "label": "cat"},'
        ' {"image": "2.jpg", "label": "cat"}, {"image": "3.jpg", "label": "dog"},'
        ' {"image": "4.jpg", "label": "dog"}]}'}, TWO_TWO, ""),
    "outlines of labelme": (
        FOUR, {f"images/{n}.json": f'{{"shapes": [{{"label": "{label}", "points": [[0, 0], [1, 1]]}}]}}'
               for n, label in enumerate(("cat", "cat", "dog", "dog"), 1)}, TWO_TWO, "boxes or outlines"),
    "records by split": (
        FOUR, {"t.json": '{"train": [{"image": "1.jpg", "label": "cat"}, {"image": "3.jpg", "label": "dog"}],'
                         ' "test": [{"image": "2.jpg", "label": "cat"}, {"image": "4.jpg", "label": "dog"}]}'},
        TWO_TWO + " | test 2, train 2", ""),
    "files by label by split": (
        FOUR, {"t.json": '{"train": {"cat": ["1.jpg"], "dog": ["3.jpg"]},'
                         ' "test": {"cat": ["2.jpg"], "dog": ["4.jpg"]}}'},
        TWO_TWO + " | test 2, train 2", ""),
}  # fmt: skip


@pytest.mark.parametrize(("tree", "annotations", "expected", "note"), FILES.values(), ids=FILES)
def test_annotations_are_read_as_they_were_meant_or_the_reason_is_given(tmp_path, tree, annotations, expected, note):
    plant(tmp_path, tree)
    write_tables(tmp_path, annotations)
    assert_read(tmp_path, expected, note)
