import torch

from darkroom.training.checkpoint import Checkpoint, discard

STATE = {
    "epoch": 3,
    "step": 7,
    "module": {"weight": torch.arange(6.0).reshape(2, 3)},
    "best": {},
    "history": [{"lr": 0.1}],
}


def test_what_is_saved_is_loaded(tmp_path):
    Checkpoint(tmp_path, "key").save(STATE)
    state = Checkpoint(tmp_path, "key").load("cpu")
    assert state is not None
    assert state["step"] == 7
    assert torch.equal(state["module"]["weight"], STATE["module"]["weight"])


def test_another_key_finds_nothing(tmp_path):
    Checkpoint(tmp_path, "key").save(STATE)
    assert Checkpoint(tmp_path, "other").load("cpu") is None


def test_a_file_under_the_name_of_another_key_is_not_picked_up(tmp_path):
    Checkpoint(tmp_path, "key").save(STATE)
    (tmp_path / "key.ckpt").rename(tmp_path / "other.ckpt")
    assert Checkpoint(tmp_path, "other").load("cpu") is None


def test_a_damaged_file_is_never_used_wherever_the_damage_is(tmp_path, capsys):
    checkpoint = Checkpoint(tmp_path, "key")
    checkpoint.save(STATE)
    whole = checkpoint.path.read_bytes()
    for place in (0, 30, len(whole) // 2, len(whole) - 1):
        checkpoint.path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert checkpoint.load("cpu") is None
        checkpoint.path.write_bytes(whole[:place])
        assert checkpoint.load("cpu") is None
    assert "damaged checkpoint, not used" in capsys.readouterr().err
    checkpoint.path.write_bytes(whole)
    assert checkpoint.load("cpu") is not None


def test_removing_takes_what_a_killed_writer_left(tmp_path):
    checkpoint = Checkpoint(tmp_path, "key")
    checkpoint.save(STATE)
    (tmp_path / ".key.ckpt.abc.tmp").write_bytes(b"half")
    (tmp_path / "other.ckpt").write_bytes(b"of another training")
    discard(tmp_path, "key")
    assert [path.name for path in tmp_path.iterdir()] == ["other.ckpt"]


def test_a_quick_training_writes_none(tmp_path):
    checkpoint = Checkpoint(tmp_path, "key", every=10)
    assert not checkpoint.due()
    assert Checkpoint(tmp_path, "key", every=0).due()
