"""Training runs: schedule, resuming, warm starts."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the train extra (torch)")
pytest.importorskip("tokenizers", reason="needs the train extra (tokenizers)")

from qcn_agent.training import checkpoint, model, optimizer, train, validation  # noqa: E402
from qcn_agent.training.packing import Batch, LoaderConfig  # noqa: E402
from qcn_agent.training.stream import Mixture  # noqa: E402
from qcn_agent.training.train import Progress, TrainConfig  # noqa: E402

# workers are forked on purpose; from Python 3.12 on that warns when an earlier test has left a thread behind
pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")]
LENGTH, ROWS = 768, 2
TINY = {"d": 64, "layers": 2, "heads": 2, "kv_heads": 1, "head_dim": 32, "rot": 16, "k_heads": 1, "v_heads": 2}


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainConfig:
    """A run of four steps of a tiny model on textbook documents."""
    monkeypatch.setitem(model.SIZES, "tiny", {**TINY, "state": 32, "ff": 32, "ff_shared": 64})
    loader = LoaderConfig(None, length=LENGTH, mixture=Mixture(0, 0, 1, 0, 0, 0))
    return TrainConfig(
        tmp_path / "run", loader, size="tiny", tokens=4 * ROWS * LENGTH, batch_rows=ROWS, micro_rows=1, num_threads=1
    )


def log_of(config: TrainConfig) -> list[dict[str, Any]]:
    """The lines of a run's log."""
    return [json.loads(line) for line in (config.out / train.LOG).read_text().splitlines()]


def test_a_run_uses_its_budget(config: TrainConfig) -> None:
    """Steps are taken until the tokens are used; the end is logged and both checkpoints lie there."""
    progress = train.train(config)
    assert (progress.step, progress.tokens) == (4, 4 * ROWS * LENGTH)
    assert log_of(config)[-1]["state"] == "done"
    assert {"repair_known", "repair_unknown"} <= set(log_of(config)[-1]["val"])
    assert (config.out / train.LAST).exists() and (config.out / train.FINAL).exists()


def test_a_run_goes_on_where_it_stopped(config: TrainConfig) -> None:
    """A second process with a larger budget takes the rest of the steps, with the saved weights and momenta."""
    train.train(config)
    _, before = checkpoint.load(config.out / train.LAST)
    progress = train.train(dataclasses.replace(config, tokens=6 * ROWS * LENGTH))
    assert (progress.step, progress.tokens) == (6, 6 * ROWS * LENGTH)
    assert progress.seconds > before["seconds"]
    _, after = checkpoint.load(config.out / train.LAST)
    assert [int(state["step"]) for state in after["opt"][1]["state"].values()] == [6] * len(after["opt"][1]["state"])


def test_a_finished_run_takes_no_step(config: TrainConfig) -> None:
    """Starting it again changes nothing."""
    train.train(config)
    first, _ = checkpoint.load(config.out / train.LAST)
    assert train.train(config).step == 4
    second, _ = checkpoint.load(config.out / train.LAST)
    assert torch.equal(first.embd.weight, second.embd.weight)


def test_a_session_pauses_early(config: TrainConfig) -> None:
    """With a short session the process saves and stops; the next one goes on."""
    first = train.train(dataclasses.replace(config, session_minutes=1e-9))
    assert first.step == 1
    assert log_of(config)[-1]["state"] == "paused"
    assert train.train(config).step == 4


def test_a_warm_start_takes_weights_only(config: TrainConfig, tmp_path: Path) -> None:
    """Steps and budget begin anew, on another run's weights."""
    train.train(config)
    warm = dataclasses.replace(config, out=tmp_path / "warm", warm_start=config.out / train.FINAL, lr=0.0)
    assert train.train(warm).step == 4
    trained, _ = checkpoint.load(config.out / train.FINAL)
    started, _ = checkpoint.load(warm.out / train.FINAL)
    assert torch.allclose(trained.embd.weight, started.embd.weight)


def test_the_loss_of_one_batch_falls(tiny_model: Any, config: TrainConfig) -> None:
    """Steps on the same rows learn them."""
    ids = torch.randint(0, 8192, (ROWS, 65), generator=torch.Generator().manual_seed(1)).numpy()
    batch = Batch(ids, (ids >= 0).astype("float32"))

    class SameBatch:
        def batch(self, num_rows: int) -> Batch:
            return batch

    same: Any = SameBatch()
    config = dataclasses.replace(config, warmup_steps=1, lr=0.01)
    trainer = train.Trainer(config, tiny_model, optimizer.build(tiny_model, 0.01), same, {}, "cpu")
    window = train._Window(0.0)
    before = validation.evaluate(tiny_model, {"same": batch}, "cpu", 1)["same"]
    for _ in range(8):
        trainer._step(window)
    assert validation.evaluate(tiny_model, {"same": batch}, "cpu", 1)["same"] < 0.8 * before
    assert (window.num_steps, window.num_skipped) == (8, 0)


def test_a_step_with_an_infinite_gradient_is_skipped(tiny_model: Any, config: TrainConfig) -> None:
    """One bad batch must not ruin the weights."""
    ids = torch.randint(0, 8192, (ROWS, 65)).numpy()

    class BadBatch:
        def batch(self, num_rows: int) -> Batch:
            return Batch(ids, (ids >= 0).astype("float32") * float("inf"))

    bad: Any = BadBatch()
    trainer = train.Trainer(config, tiny_model, optimizer.build(tiny_model, 0.01), bad, {}, "cpu")
    window, before = train._Window(0.0), tiny_model.embd.weight.detach().clone()
    trainer._step(window)
    assert window.num_skipped == 1
    assert torch.equal(tiny_model.embd.weight, before)


def test_the_rate_warms_up_and_decays(config: TrainConfig) -> None:
    """Linear up, constant, linear down to 2 %."""
    config = dataclasses.replace(config, tokens=1000, warmup_steps=10, decay_share=0.5)
    scales = [
        train.lr_scale(config, Progress(step, tokens))
        for step, tokens in ((0, 0), (4, 0), (50, 400), (50, 750), (50, 1000))
    ]
    assert scales == pytest.approx([0.1, 0.5, 1.0, 0.5, 0.02])


def test_minutes_bound_a_run_as_well() -> None:
    """Without tokens the share is one of time."""
    config = TrainConfig(Path(), LoaderConfig(None), minutes=2.0)
    assert train.done_share(config, Progress(seconds=30.0)) == 0.25


def test_the_command_line_becomes_a_configuration() -> None:
    """Options have the names of the fields; shares that are not given keep their defaults."""
    words = "--out r --from w.pt --tokens 3e6 --length 512 --batch 4 --lr 0.001 --workers 3"
    config = train.parse([*words.split(), "--mix", '{"chat": 0.5}'])
    assert (config.out, config.warm_start, config.tokens, config.lr) == (Path("r"), Path("w.pt"), 3_000_000, 0.001)
    assert (config.batch_rows, config.micro_rows, config.loader.length, config.loader.num_workers) == (4, 4, 512, 3)
    assert (config.loader.mixture.chat, config.loader.mixture.code) == (0.5, Mixture().code)


def test_a_run_needs_a_budget(capsys: pytest.CaptureFixture[str]) -> None:
    """Minutes or tokens, and not both."""
    for words in ("--out r", "--out r --minutes 1 --tokens 5"):
        with pytest.raises(SystemExit):
            train.parse(words.split())
    assert "--tokens" in capsys.readouterr().err
