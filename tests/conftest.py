"""Fixtures that several rooms' tests share."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
CLUSTER = "cluster"
LONGEST = (
    CLUSTER, "test_processors.py", "review/test_loop.py", "test_readme.py", "test_pipeline.py",
    "model/test_families.py", "search/test_sweep.py", "model/test_exact.py", "review/test_races.py",
    "serve/test_limits.py", "serve/test_service.py", "review/test_deciding.py", "review/test_page.py",
    "training/test_launch.py", "search/test_race.py", "benchmarks/test_loaders.py", "reporting/test_report.py",
    "reproduction/test_verify.py", "stages/test_worker_death.py", "serve/test_hostile.py", "tools/test_pr_report.py",
    "training/test_resume.py", "test_params_in_git.py",
)  # fmt: skip
# Arrays here are too small to share: threads of BLAS and OpenMP would only wait for each other, and busily. Set before
# numpy is loaded; pytest-xdist's processes and what the tests start inherit it, one project of test_pipeline.py apart.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
os.environ |= ONE_THREAD


def pytest_configure(config: pytest.Config) -> None:
    """Set what the tests and all that they start find in the environment."""
    os.environ["DVC_GLOBAL_CONFIG_DIR"] = str(ROOT / "tests/dvc_settings")
    if "TESTS_IN_COMMON" not in os.environ:  # pytest-xdist's processes inherit it
        os.environ["TESTS_IN_COMMON"] = tempfile.mkdtemp(prefix="darkroom-tests-")
        config.add_cleanup(lambda: shutil.rmtree(os.environ.pop("TESTS_IN_COMMON"), ignore_errors=True))


def _room(path: str) -> str:
    """Return what is tested in one process: a file, and all files that use the cluster, which takes long to start."""
    return CLUSTER if path.endswith("cluster.py") else path.removeprefix("tests/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes minutes, so that no process is left alone with it at the end."""
    turn = {name: number for number, name in enumerate(LONGEST)}
    # Of those on the cluster, the file that leaves a third node there comes last.
    items.sort(
        key=lambda item: (
            turn.get(_room(item.path.relative_to(ROOT).as_posix()), len(turn)), item.path.name == "test_on_cluster.py",
        )
    )  # fmt: skip


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return what `-n auto` means: two more than processors, for half of a test's time is waiting; 4 GB of memory for
    each."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(len(os.sched_getaffinity(0)) + 2, max(2, memory // (4 << 30)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """pytest-xdist's way of giving out files, with rooms in place of files."""
    from xdist.scheduler import LoadScopeScheduling

    class Rooms(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _room(nodeid.partition("::")[0])

    return Rooms(config, log)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of real test material that is kept outside the project; the test skips where it is absent."""
    folder = Path(os.environ.get("DARKROOM_SHARED", ROOT.parent / "shared"))
    if not (folder / "PROVENANCE.md").exists():
        pytest.skip(f"needs the shared test material; {folder} is absent (set DARKROOM_SHARED)")
    return folder


@pytest.fixture(scope="session")
def nodes():
    """Yield a Ray cluster of two nodes on this machine; the test skips where Ray is not installed."""
    from tests.cluster.two_nodes import two_nodes

    with two_nodes() as started:
        yield started


@pytest.fixture(scope="module")
def cluster(nodes):
    """Yield the cluster, which this process leaves when the module's tests have ended."""
    yield nodes
    import ray

    ray.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium; the test skips where it is not installed. Playwright's loop must end before other tests."""
    from tests.browser import CHROMIUM, chromium

    if not CHROMIUM:
        pytest.skip("needs Debian's chromium: apt-get install chromium")
    with chromium() as started:
        yield started
