"""Note what all folds share: params.yaml and the code that trains them -> data/crossval/recipe.json."""

from dataclasses import asdict, dataclass
from pathlib import Path

from darkroom.core import files
from darkroom.core.params import load, read_yaml
from darkroom.core.stage import run
from darkroom.training.recipe import Recipe


@dataclass(frozen=True)
class RecipeParams(Recipe):
    """All that shapes training."""


def main(pipeline: Path, out: Path) -> str:
    """Write into OUT the params, and the digest of the files that stage `recipe` of PIPELINE has as deps.

    DVC reads every dep of every stage in every command, for each entry of a matrix anew: five folds with fifty files
    of code each would make all commands of the project slower by a tenth.
    """
    params = load(RecipeParams)
    params.check()
    shaping = asdict(params)
    code = {dep: files.sha256(pipeline.parent / dep) for dep in read_yaml(pipeline)["stages"]["recipe"]["deps"]}
    files.write_json(out, {"params": shaping, "code": files.digest(code)})
    return f"{len(shaping)} params and {len(code)} files shape every fold, noted"


if __name__ == "__main__":
    run(main)
