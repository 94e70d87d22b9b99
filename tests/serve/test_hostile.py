"""A few hundred of the hostile requests of `python -m benchmarks.hostile`."""

import asyncio

from benchmarks.hostile import Attacker
from tests.serve.conftest import serve


def test_hostile_requests_get_an_answer_or_nothing_and_never_a_500(exported, shared, tmp_path):
    with serve(exported, tmp_path / "log", "--timeout", "1") as running:
        attacker = Attacker(running.port, shared / "data/odd-images")
        asyncio.run(attacker.run(400, seed=0))
        assert running.process.poll() is None
        assert set(attacker.statuses) <= {0, 200, 400, 404, 405, 408, 413, 415, 422, 503}
        assert len(attacker.statuses) >= 6
        assert set(attacker.health) == {200}
        assert '"event": "failed"' not in running.log
        assert "Traceback" not in running.log
