"""Train the model; stop and resume at any time.

    python -m qcn_agent.training.train --corpus data/corpus.jsonl.gz --minutes 90 --out run

Everything lies in `--out`: `last.pt` (what a run resumes from), `final.pt` and `step*.pt` (half precision, for export
and warm starts), `log.jsonl`. The schedule is a share of `--minutes` or `--tokens`: warm-up, constant, linear decay.
"""

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from qcn_agent.training import checkpoint, optimizer, packing, tokenizer, validation
from qcn_agent.training.model import SIZES, Model, ModelConfig
from qcn_agent.training.packing import Batch, BatchLoader, LoaderConfig
from qcn_agent.training.precision import autocast
from qcn_agent.training.stream import Mixture

BALANCE_WEIGHT = 0.01  # of the experts' load-balance loss
LOG_EVERY = 20  # steps
LAST, FINAL, LOG = "last.pt", "final.pt", "log.jsonl"


@dataclass(frozen=True)
class TrainConfig:
    """One run. Exactly one of `minutes` and `tokens` bounds it; `session_minutes` ends this process earlier."""

    out: Path
    loader: LoaderConfig
    size: str = "xs"
    warm_start: Path | None = None
    minutes: float = 0.0
    tokens: int = 0
    session_minutes: float = 0.0
    batch_rows: int = 8
    micro_rows: int = 8  # of one forward pass
    lr: float = 3e-3
    warmup_steps: int = 100
    decay_share: float = 0.35
    eval_every: int = 100  # steps
    save_minutes: float = 3.0
    keep_minutes: float = 15.0  # between numbered checkpoints
    num_threads: int = 2
    compile: bool = False


@dataclass
class Progress:
    """How far a run is, over all its sessions."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0


def lr_scale(config: TrainConfig, progress: Progress) -> float:
    """Factor on the learning rate: linear warm-up, constant, linear decay to 2 %."""
    warmup = (progress.step + 1) / config.warmup_steps
    return min(1.0, warmup, max(0.02, (1 - done_share(config, progress)) / config.decay_share))


def done_share(config: TrainConfig, progress: Progress) -> float:
    """How much of the run's budget is used, 0 to 1 and beyond."""
    return progress.tokens / config.tokens if config.tokens else progress.seconds / (60 * config.minutes)


@dataclass
class _Window:
    """Sums since the last log line."""

    started_s: float
    loss: Any = 0.0
    num_steps: int = 0
    num_skipped: int = 0


@dataclass
class Trainer:
    """A run in this process: the model, its optimisers, its data and how far it is."""

    config: TrainConfig
    model: Model
    optimizers: list[Any]
    loader: BatchLoader
    validation_sets: dict[str, Batch]
    device: str
    progress: Progress = field(default_factory=Progress)

    def run(self) -> None:
        """Train until the budget or the session ends; save in any case."""
        started_s = saved_s = kept_s = time.monotonic()
        try:
            for _ in self._steps():
                now_s = time.monotonic()
                if now_s - saved_s > 60 * self.config.save_minutes:
                    self._save()
                    saved_s = now_s
                if now_s - kept_s > 60 * self.config.keep_minutes:
                    self._keep(f"step{self.progress.step:06d}.pt")
                    kept_s = now_s
                if self.config.session_minutes and now_s - started_s > 60 * self.config.session_minutes:
                    break
        finally:
            self._save()
        self._keep(FINAL)
        is_done = done_share(self.config, self.progress) >= 1
        self._log({"state": "done" if is_done else "paused", "val": self._evaluate()})

    def _steps(self) -> Iterator[None]:
        """Take steps until the budget is used, logging on the way."""
        window = _Window(time.monotonic())
        while done_share(self.config, self.progress) < 1:
            before_s = time.monotonic()
            self._step(window)
            self.progress.step += 1
            self.progress.tokens += self.config.batch_rows * self.config.loader.length
            self.progress.seconds += time.monotonic() - before_s
            if self.progress.step % LOG_EVERY == 0:
                self._log(self._figures(window))
                window = _Window(time.monotonic())
            yield

    def _step(self, window: _Window) -> None:
        """One update. It is skipped when the gradient is not finite."""
        scale = lr_scale(self.config, self.progress)
        for one in self.optimizers:
            for group in one.param_groups:
                group["lr"] = self.config.lr * scale
        batch = self.loader.batch(self.config.batch_rows)
        window.loss = window.loss + self._backward(batch)
        window.num_steps += 1
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        if torch.isfinite(norm):
            for one in self.optimizers:
                one.step()
        else:
            window.num_skipped += 1
        self.model.zero_grad(set_to_none=True)

    def _backward(self, batch: Batch) -> Any:
        """Accumulate the gradient of a batch; its weighted mean loss."""
        ids, weights = torch.from_numpy(batch.ids), torch.from_numpy(batch.weights)
        total_weight = max(1.0, float(weights[:, 1:].sum()))
        total = torch.zeros((), device=self.device)
        for x, w in zip(ids.split(self.config.micro_rows), weights.split(self.config.micro_rows), strict=True):
            x, w = x.to(self.device, non_blocking=True), w.to(self.device, non_blocking=True)
            with autocast(self.device):
                loss, balance = self.model.loss(x[:, :-1], x[:, 1:], w[:, 1:], total_weight)
            (loss + BALANCE_WEIGHT * balance * (len(x) / len(ids))).backward()
            total = total + loss.detach()
        return total

    def _figures(self, window: _Window) -> dict[str, Any]:
        elapsed_s = time.monotonic() - window.started_s
        num_tokens = window.num_steps * self.config.batch_rows * self.config.loader.length
        figures: dict[str, Any] = {
            "loss": round(float(window.loss) / window.num_steps, 4),
            "lr": round(self.config.lr * lr_scale(self.config, self.progress), 6),
            "tokens_per_s": round(num_tokens / elapsed_s),
            "num_skipped": window.num_skipped,
        }
        if self.progress.step % self.config.eval_every == 0:
            figures["val"] = self._evaluate()
        return figures

    def _evaluate(self) -> dict[str, float]:
        return validation.evaluate(self.model, self.validation_sets, self.device, self.config.micro_rows)

    def _log(self, figures: dict[str, Any]) -> None:
        minutes = round(self.progress.seconds / 60, 2)
        record = {"step": self.progress.step, "tokens": self.progress.tokens, "minutes": minutes, **figures}
        print(json.dumps(record), flush=True)
        with (self.config.out / LOG).open("a", encoding="utf-8") as log:
            log.write(json.dumps(record) + "\n")

    def _save(self) -> None:
        states = [one.state_dict() for one in self.optimizers]
        checkpoint.save(self.model, self.config.out / LAST, opt=states, **asdict(self.progress))

    def _keep(self, name: str) -> None:
        checkpoint.save(self.model, self.config.out / name, half=True, **asdict(self.progress))


def train(config: TrainConfig) -> Progress:
    """Start a run, or resume the one in `config.out`; returns how far it came."""
    config.out.mkdir(parents=True, exist_ok=True)
    files = packing.load_files(config.loader.corpus)
    progress = _saved_progress(config)
    # a resumed run must not see the documents of its beginning again; workers are forked before CUDA starts
    loader_config = replace(config.loader, seed=f"{config.loader.seed}-{progress.tokens}")
    with closing(BatchLoader(loader_config, files)) as loader:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        _configure_torch(config, device)
        model, optimizers = _model_and_optimizers(config, device)
        total, active = model.num_parameters()
        print(f"{device}: {total:,} parameters, {active:,} a token; from step {progress.step}", flush=True)
        num_rows = 4 if device == "cpu" else 32
        sets = validation.build(files, tokenizer.load(), config.loader.length, num_rows)
        Trainer(config, model, optimizers, loader, sets, device, progress).run()
    return progress


def _saved_progress(config: TrainConfig) -> Progress:
    path = config.out / LAST
    if not path.exists():
        return Progress()
    content = torch.load(path, map_location="cpu", weights_only=True)
    return Progress(content["step"], content["tokens"], content["seconds"])


def _configure_torch(config: TrainConfig, device: str) -> None:
    torch.set_float32_matmul_precision("high")
    if device == "cpu":
        torch.set_num_threads(config.num_threads)


def _model_and_optimizers(config: TrainConfig, device: str) -> tuple[Model, list[Any]]:
    """From `last.pt`, else the weights to start from, else new."""
    last = config.out / LAST
    extra: dict[str, Any] = {}
    if last.exists():
        model, extra = checkpoint.load(last, device)
    elif config.warm_start:
        model, _ = checkpoint.load(config.warm_start, device)
    else:
        torch.manual_seed(1)
        model = Model(ModelConfig(**SIZES[config.size])).to(device)
    optimizers = optimizer.build(model, config.lr)
    for one, state in zip(optimizers, extra.get("opt", []), strict=False):
        one.load_state_dict(state)
    if config.compile:
        for block in model.blocks:
            block.compile()
    return model, optimizers


def parse(argv: list[str] | None = None) -> TrainConfig:
    """The command line as a configuration."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    defaults, loader = TrainConfig(Path(), LoaderConfig(None)), LoaderConfig(None)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--corpus", type=Path, help="without one only textbook documents are made")
    parser.add_argument("--size", choices=sorted(SIZES), default=defaults.size)
    parser.add_argument("--from", dest="warm_start", type=Path, help="weights to start from, of any run")
    budget = parser.add_mutually_exclusive_group(required=True)
    budget.add_argument("--minutes", type=float, default=0.0, help="of training, over all sessions")
    budget.add_argument("--tokens", type=float, default=0.0, help="over all sessions, e.g. 3e8")
    parser.add_argument("--session-minutes", type=float, default=0.0, help="save and stop after so long; 0: never")
    parser.add_argument("--length", type=int, default=loader.length, help="tokens of a row")
    parser.add_argument("--batch", type=int, default=defaults.batch_rows, help="rows of a step")
    parser.add_argument("--micro", type=int, default=0, help="rows of a forward pass; 0: all of a step")
    for name in ("lr", "warmup_steps", "decay_share", "eval_every", "save_minutes", "keep_minutes", "num_threads"):
        value = getattr(defaults, name)
        parser.add_argument("--" + name.replace("_", "-"), type=type(value), default=value)
    parser.add_argument("--compile", action="store_true", help="compile the blocks (needs a C++ compiler)")
    parser.add_argument("--workers", type=int, default=loader.num_workers)
    parser.add_argument("--seed", default=loader.seed)
    parser.add_argument("--mix", type=json.loads, default={}, help='shares of documents, e.g. {"chat": 0.02}')
    args = vars(parser.parse_args(argv))
    data = LoaderConfig(
        args.pop("corpus"), args.pop("length"), args.pop("workers"), args.pop("seed"), Mixture(**args.pop("mix"))
    )
    rows, micro = args.pop("batch"), args.pop("micro")
    args["tokens"] = int(args["tokens"])
    return TrainConfig(loader=data, batch_rows=rows, micro_rows=micro or rows, **args)


if __name__ == "__main__":
    train(parse())
