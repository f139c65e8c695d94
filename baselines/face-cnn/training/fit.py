"""Training of the network on one set of videos, resumable after being killed at any moment.

A step depends on the seed, its number and the checkpoint only: on CPU, a resumed training ends with exactly the weights
of one that was never stopped.
"""

import os
import signal
import time
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event
from typing import Any

import common
import torch
from batches import Batches, Recipe
from common import InputError
from network import FaceNet, load_weights, save
from shards import VideoEntry
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import DataLoader

PRETRAINED = common.SUBMISSION / "training/pretrained.npz"  # the first blocks as trained on ImageNet
WEIGHT_DECAY = 1e-2
WARM_UP = 0.2  # fraction of the steps in which the learning rate rises
MAX_GRADIENT_NORM = 1.0
EVALUATIONS = 8  # on the held-out videos, per training
PROGRESS_S = 5.0  # seconds between two lines of progress

Row = dict[str, object]


class StoppedError(Exception):
    """Stopped on request after saving a checkpoint; the text says at which step."""


@dataclass(frozen=True)
class Plan:
    """Everything that determines the result; a checkpoint of another plan is not resumed."""

    seed: int
    steps: int
    recipe: Recipe
    learning_rate: float
    pretrained_sha256: str  # of the initial weights
    videos_sha256: str  # of the training videos
    held_out_sha256: str  # of the held-out videos, on which the history was evaluated
    crops: dict[str, object]  # how the crops were made, from settings.json
    residual: bool = False  # the first layer sees the upsampling residual, too


@dataclass(frozen=True)
class Machine:
    """The device and the processes that make batches."""

    device: torch.device
    half: bool  # mixed precision
    workers: int  # processes that make batches; 0: this one
    checkpoint_s: float = 60.0  # seconds between two checkpoints

    @classmethod
    def this(cls, cores: int, checkpoint_s: float, workers: int | None = None) -> "Machine":
        """The GPU with mixed precision, if there is one; by default a worker per core, or on CPU per two cores."""
        gpu = torch.cuda.is_available()
        workers = (cores if gpu else max(1, cores // 2)) if workers is None else workers
        return cls(torch.device("cuda" if gpu else "cpu"), gpu, workers, checkpoint_s)


class Training:
    """Network, optimizer, and their state from step to step."""

    def __init__(self, plan: Plan, machine: Machine) -> None:
        torch.manual_seed(plan.seed)  # initial weights of the last layer
        self.plan, self.machine = plan, machine
        self.net = FaceNet(residual=plan.residual)
        load_weights(self.net, PRETRAINED)
        self.net.to(machine.device, memory_format=torch.channels_last)
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=plan.learning_rate, weight_decay=WEIGHT_DECAY)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, plan.learning_rate, total_steps=plan.steps, pct_start=WARM_UP
        )
        self.scaler = torch.amp.GradScaler(machine.device.type, enabled=machine.half)
        self.done = 0  # steps
        self.history: list[Row] = []  # the evaluations so far

    def step(self, crops: Tensor, labels: Tensor) -> float:
        """One optimizer step on crops (2n, 3, side, side) uint8 and labels (2n,); the loss before it."""
        torch.manual_seed(1_000_003 * self.plan.seed + self.done)  # dropout: the same after resuming
        self.net.train()
        to = {"device": self.machine.device, "non_blocking": True}
        with torch.autocast(self.machine.device.type, dtype=torch.float16, enabled=self.machine.half):
            loss = binary_cross_entropy_with_logits(self.net(crops.to(**to)).float(), labels.to(**to))
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), MAX_GRADIENT_NORM)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.schedule.step()
        self.done += 1
        return loss.item()

    def parts(self) -> dict[str, object]:
        """The parts with a state_dict, by name."""
        return {"net": self.net, "optimizer": self.optimizer, "schedule": self.schedule, "scaler": self.scaler}

    def save(self, path: Path) -> None:
        """Write a checkpoint, atomically."""
        content = {name: part.state_dict() for name, part in self.parts().items()}
        part = path.with_name(f".{path.name}.part")
        torch.save({"plan": asdict(self.plan), "done": self.done, "history": self.history, **content}, part)
        with part.open("rb+") as file:
            os.fsync(file.fileno())  # else a power cut could leave an empty checkpoint
        part.replace(path)

    def resume(self, path: Path) -> None:
        """Resume from a checkpoint. Raises InputError if it was made with another plan."""
        content = read_checkpoint(path, self.machine.device)
        if changes := differences(content["plan"], asdict(self.plan)):
            raise InputError(
                f"{path} was made with other settings or videos ({changes}). Remove it, or choose another --work."
            )
        for name, part in self.parts().items():
            part.load_state_dict(content[name])
        self.done, self.history = content["done"], content["history"]


def read_checkpoint(path: Path, device: torch.device) -> dict[str, Any]:
    """Read a checkpoint of `Training.save`. Raises InputError if it is damaged."""
    try:
        if path.is_file() and not zipfile.is_zipfile(path):
            raise RuntimeError("not a PyTorch file")
        content: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except RuntimeError as error:
        raise InputError(f"{path} is damaged ({error}). Remove it to start that training again.") from error
    return content


def differences(then: dict[str, Any], now: dict[str, Any]) -> str:
    """The differences between two plans as text; empty if they are equal."""
    was, has = flat(then), flat(now)
    names = [name for name in {**was, **has} if was.get(name) != has.get(name)]
    return "; ".join(f"{name[-1]} was {was.get(name)}, is {has.get(name)}" for name in names)


def flat(plan: dict[str, Any]) -> dict[tuple[str, ...], Any]:
    """Nested values by their path of names."""
    found: dict[tuple[str, ...], Any] = {}
    for name, value in plan.items():
        if isinstance(value, dict):
            found.update({(name, part): inner for part, inner in value.items()})
        else:
            found[name,] = value
    return found


def fit(
    training: Training,
    entries: list[VideoEntry],
    checkpoint: Path,
    last: int,
    evaluate: Callable[[Training], Row],
    stop: Event,
) -> None:
    """Train up to step `last`, starting from the checkpoint if there is one.

    At each step of `evaluation_steps` the weights are saved (`weights_file`) and the result of `evaluate` is added to
    `training.history`. A checkpoint is saved every `checkpoint_s` seconds and at the end. Once `stop` is set, the
    current step is finished, a checkpoint saved, and StoppedError raised.
    """
    plan, machine = training.plan, training.machine
    if checkpoint.exists():
        training.resume(checkpoint)
        print(f"{checkpoint.stem}: resumed after step {training.done} of {last}", flush=True)
    progress, saved = Progress(checkpoint.stem, training.done, last), time.monotonic()
    recent: list[float] = []
    for crops, labels in loader(training, entries, last):
        recent.append(training.step(crops, labels))
        progress.tick(training.done, recent[-1])
        if training.done in evaluation_steps(plan.steps):
            row = {"step": training.done, "loss": sum(recent) / len(recent), "seconds": progress.seconds}
            training.history.append(row | evaluate(training))
            save(training.net.state_dict(), weights_file(checkpoint, training.done))
            recent = []
        at_end, stopping = training.done == last, stop.is_set()
        if at_end or stopping or time.monotonic() - saved > machine.checkpoint_s:
            training.save(checkpoint)
            saved = time.monotonic()
        if stopping and not at_end:
            raise StoppedError(f"stopped after step {training.done} of {last} of {checkpoint.stem}")


def weights_file(checkpoint: Path, step: int) -> Path:
    """The file of the weights after `step`, next to the checkpoint."""
    return checkpoint.with_name(f"{checkpoint.stem}-{step}.npz")


def loader(training: Training, entries: list[VideoEntry], last: int) -> DataLoader:
    """The remaining batches in order, made by worker processes."""
    return DataLoader(
        Batches(entries, training.plan.recipe),
        batch_size=None,
        sampler=range(training.done, last),
        num_workers=training.machine.workers,
        worker_init_fn=ignore_ctrl_c,
        pin_memory=training.machine.half,
    )


def ignore_ctrl_c(_: int) -> None:
    """A terminal sends Ctrl-C to every process; the training process still needs its next batch."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def evaluation_steps(steps: int) -> list[int]:
    """The steps after which the network is evaluated; the last step is one of them."""
    return sorted({max(1, round(steps * (n + 1) / EVALUATIONS)) for n in range(EVALUATIONS)})


class Progress:
    """Prints the step, the loss and the remaining time every PROGRESS_S seconds."""

    def __init__(self, name: str, done: int, total: int) -> None:
        self.name, self.first, self.total = name, done, total
        self.started = self.printed = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since this process started this training."""
        return round(time.monotonic() - self.started, 1)

    def tick(self, done: int, loss: float) -> None:
        """Count one step."""
        now = time.monotonic()
        if now - self.printed < PROGRESS_S and done < self.total:
            return
        self.printed = now
        left = round((self.total - done) * (now - self.started) / (done - self.first))
        print(f"{self.name}: step {done}/{self.total}, loss {loss:.3f}, {left // 60}:{left % 60:02d} left", flush=True)
