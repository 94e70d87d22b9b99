import copy

import pytest

from darkroom.reproduction.differences import Results, in_order
from darkroom.reproduction.verify import judge

STAGES = {
    "evaluate": {
        "cmd": "python -m stages.evaluate",
        "deps": [{"path": "models/classifier/head", "hash": "md5", "md5": "m1"}],
        "outs": [{"path": "metrics/test.json", "hash": "md5", "md5": "t1"}],
    },
    "preprocess": {
        "cmd": "python -m stages.preprocess",
        "deps": [{"path": "photos", "hash": "md5", "md5": "p1"}, {"path": "a.py", "hash": "md5", "md5": "a1"}],
        "params": {"params.yaml": {"image_size": 32}},
        "outs": [{"path": "data/shards", "hash": "md5", "md5": "s1"}],
    },
    "train": {
        "cmd": "python -m stages.train",
        "deps": [{"path": "data/shards", "hash": "md5", "md5": "s1"}],
        "params": {"params.yaml": {"lr": 0.1}},
        "outs": [{"path": "models/classifier", "hash": "md5", "md5": "m1"}],
    },
}
RUN = {
    "machine": {"cpu": "one", "cpu_flags": ["avx2"]},
    "versions": {"torch": "2.14.1"},
    "stages": {"preprocess": {}, "train": {"device": "cpu", "precision": "float32", "runtime": {"threads": "2"}}},
}
METRICS = {"accuracy": 0.9, "accuracy_low": 0.8, "accuracy_high": 0.95}


@pytest.fixture
def other():
    return Results("other", copy.deepcopy(STAGES), dict(METRICS), copy.deepcopy(RUN), None)


def against(other):
    return judge(Results("reference", STAGES, METRICS, RUN, None), other)


def change(other, *outs, value="changed"):
    for stage in other.stages.values():
        for entry in [*stage.get("deps", []), *stage.get("outs", [])]:
            if entry["path"] in outs:
                entry["md5"] = value


def test_stages_come_in_the_order_of_what_they_read():
    assert in_order(STAGES) == ["preprocess", "train", "evaluate"]


def test_the_same_hashes_are_identical_whatever_the_machine(other):
    other.run["machine"]["cpu"] = "two"
    verdict = against(other)
    assert (verdict.word, verdict.causes) == ("identical", [])


def test_a_param_is_named_before_the_outputs_that_follow_from_it(other):
    other.stages["train"]["params"]["params.yaml"]["lr"] = 0.2
    change(other, "models/classifier", "metrics/test.json")
    verdict = against(other)
    assert verdict.word == "different"
    assert [str(cause) for cause in verdict.causes] == ["train: param lr: 0.1 -> 0.2"]
    assert [difference.name for difference in verdict.changed] == ["models/classifier", "metrics/test.json"]


def test_the_first_along_the_pipeline_is_named_not_the_first_by_name(other):
    other.stages["train"]["params"]["params.yaml"]["lr"] = 0.2
    change(other, "photos", "a.py", "data/shards", "models/classifier", "metrics/test.json")
    assert [(cause.kind, cause.name) for cause in against(other).causes] == [("code", "a.py"), ("input", "photos")]


def test_a_change_without_effect_is_not_blamed_for_a_later_difference(other):
    change(other, "a.py")  # a comment
    other.run["stages"]["train"]["runtime"]["threads"] = "4"
    change(other, "models/classifier", "metrics/test.json")
    assert [str(cause) for cause in against(other).causes] == ["train: setting threads: 2 -> 4"]


def test_versions_are_named_before_settings_and_the_machine(other):
    other.run.update(versions={"torch": "2.15.0"}, machine={"cpu": "two", "cpu_flags": ["avx2", "amx_bf16"]})
    change(other, "models/classifier", "metrics/test.json")
    assert [str(cause) for cause in against(other).causes] == [
        "train: version torch: 2.14.1 -> 2.15.0",
        "train: setting cpu_flags: avx2 -> avx2, amx_bf16",
        "train: setting cpu: one -> two",
    ]


def test_another_gpu_is_named_before_the_processor_beside_it(other):
    other.run["stages"]["train"] |= {"device": "cuda", "gpu": "NVIDIA H200, CUDA 13.0, cuDNN 91002"}
    other.run["machine"]["cpu"] = "two"
    change(other, "models/classifier", "metrics/test.json")
    assert [str(cause) for cause in against(other).causes] == [
        "train: setting device: cpu -> cuda",
        "train: setting gpu: none -> NVIDIA H200, CUDA 13.0, cuDNN 91002",
        "train: setting cpu: one -> two",
    ]


def test_a_stage_that_ran_elsewhere_is_told_by_its_own_machine(other):
    other.run["stages"]["train"]["machine"] = {"cpu": "rented", "cpu_flags": ["avx2"]}
    change(other, "models/classifier", "metrics/test.json")
    assert [str(cause) for cause in against(other).causes] == ["train: setting cpu: one -> rented"]


def test_a_difference_that_nothing_explains_is_named_as_such(other):
    change(other, "data/shards", "models/classifier", "metrics/test.json")
    assert [cause.kind for cause in against(other).causes] == ["output"]


def test_a_stage_that_is_in_one_of_them_alone_is_named(other):
    del other.stages["train"]
    assert "train: stage train: present -> absent" in [str(cause) for cause in against(other).causes]
