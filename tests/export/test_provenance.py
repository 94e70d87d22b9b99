import subprocess
import sys

from ruamel.yaml import YAML

from darkroom.core.files import dvc_md5


def test_it_is_the_digest_that_dvc_writes(tmp_path):
    folder = tmp_path / "outs/model"
    (folder / "b").mkdir(parents=True)
    for name in ("z.json", "b/a.bin", "b.txt", "b/é.txt"):
        (folder / name).write_text(name * 3)
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q", "--no-scm"], cwd=tmp_path, check=True)
    for path in (folder, folder.parent / "file.txt"):
        if path.suffix:
            path.write_text("x")
        subprocess.run([sys.executable, "-m", "dvc", "add", "-q", str(path)], cwd=tmp_path, check=True)
        written = YAML(typ="safe").load(path.with_name(path.name + ".dvc").read_text())
        assert dvc_md5(path) == written["outs"][0]["md5"]
