"""A small project of three stages, whose trainings have a known best lr, fail at one and never learn at others."""

import sys
from pathlib import Path

from tests.reporting.project import begin

PIPELINE = """
stages:
  embed:
    cmd: {python} -m stages.embed
    deps: [stages/embed.py, "${{source}}"]
    params: [source, body]
    outs: [features.txt]
  train:
    cmd: {python} -m stages.train
    deps: [stages/train.py, features.txt]
    params: [lr, epochs, nap]
    outs: [plots/history.csv, models/classifier]
  evaluate:
    cmd: {python} -m stages.evaluate
    deps: [stages/evaluate.py, plots/history.csv]
    metrics: [{{metrics/test.json: {{cache: false}}}}]
"""
EMBED = """
import os, pathlib, time
from ruamel.yaml import YAML
params = YAML(typ="safe", pure=True).load(open("params.yaml"))
if params["body"] == "none":
    raise SystemExit("embed: weights: none.pth does not exist; expected a file")
with open(os.environ["EMBED_COUNTER"], "a") as counter:
    counter.write(params["body"])
time.sleep(0.5)
pathlib.Path("features.txt").write_text("features of " + params["source"])
"""
# The loss has its minimum at lr = 0.01; lr = 0.5 cannot be trained; lr of 0.3 or more never learns.
TRAIN = """
import json, math, pathlib, time
from ruamel.yaml import YAML
params = YAML(typ="safe", pure=True).load(open("params.yaml"))
if params["lr"] == 0.5:
    raise SystemExit("train: the loss is not a number in epoch 1; use a smaller lr")
goal = abs(math.log10(params["lr"]) + 2)
for folder in ("plots", "models/classifier"):
    pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
lines = ["epoch,val_loss"]
for epoch in range(1, params["epochs"] + 1):
    loss = goal + 1 / epoch if params["lr"] < 0.3 else 9.0
    lines.append(f"{epoch},{loss}")
    pathlib.Path("plots/history.csv").write_text("\\n".join(lines) + "\\n")
    time.sleep(params["nap"] if params["lr"] > 0.2 else 0)
json.dump({"val": {"loss": loss, "accuracy": 0.95, "n": 200}}, open("models/classifier/train.json", "w"))
"""
PARAMS = "lr: 0.1\nepochs: 4\nnap: 0.0\nsource: photos.csv\nbody: x\n"
EVALUATE = """
import json, pathlib
pathlib.Path("metrics").mkdir(exist_ok=True)
json.dump({"accuracy": 0.9, "accuracy_low": 0.8, "accuracy_high": 0.95, "n": 50}, open("metrics/test.json", "w"))
"""


def make_project(folder: Path) -> Path:
    """Return a pipeline of three quick stages, committed."""
    (folder / "stages").mkdir(parents=True)
    for name, text in (("embed", EMBED), ("train", TRAIN), ("evaluate", EVALUATE), ("__init__", "")):
        (folder / f"stages/{name}.py").write_text(text)
    (folder / "dvc.yaml").write_text(PIPELINE.format(python=sys.executable))
    (folder / "params.yaml").write_text(PARAMS)
    (folder / "photos.csv").write_text("1.jpg")
    (folder / ".gitignore").write_text("__pycache__\n.darkroom\n")
    (folder / ".dvcignore").write_text("__pycache__\n")
    begin(folder)
    return folder
