"""What a review asks of the model: once, and again only when what it is computed from changes."""

import numpy as np

from darkroom.core import files
from darkroom.review.evidence import KEPT, gather
from darkroom.review.samples import Samples


def test_the_answers_come_first_and_are_kept_until_what_they_are_computed_from_changes(run):
    samples, done = Samples(run), []
    (run / KEPT).unlink()
    answers, whole = gather(samples, done.append)
    assert (len(answers.features), len(whole.features)) == (0, samples.pictured)
    assert done[-2:] == ["asking the model: 5 of 5 parts are done", "looking for images that are alike"]
    done.clear()
    (again,) = gather(samples, done.append)
    assert done == []
    for name in ("probabilities", "features", "unlikeness"):
        np.testing.assert_array_equal(getattr(again, name), getattr(whole, name))
    kept = (run / KEPT).read_bytes()
    (run / KEPT).write_bytes(kept[: len(kept) // 2])  # the disk was full, or somebody else writes it
    assert len(list(gather(samples))) == 2
    assert (run / KEPT).read_bytes() == kept
    index = samples.shards[0].index
    changed = {samples.all[0].id: next(name for name in index["classes"] if name != samples.all[0].label)}
    files.write_json(run / "data/labels/train.json", {"classes": index["classes"], "changes": changed})
    assert len(list(gather(samples))) == 2  # a label that the run has learnt since asks the model again
