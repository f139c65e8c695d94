"""Training the network on one set of videos, so that it can be killed at any moment and go on as if nothing had been.

All that a step depends on is the seed, the number of the step and what the checkpoint holds: on a processor, a run that
was stopped ends with the very weights of one that was not.
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

import torch
from batches import Batches, Recipe
from model import FaceNet, load_start, save
from shards import Entry, StopError
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import DataLoader

WEIGHT_DECAY = 1e-2
WARM_UP = 0.2  # share of the steps in which the learning rate rises
MAX_GRADIENT = 1.0  # norm of all gradients together
MEASUREMENTS = 8  # in a training
EVERY_S = 5.0  # between two lines of progress


Row = dict[str, object]


class StoppedError(Exception):
    """Stopped on request, with a checkpoint to go on from; the text says where."""


@dataclass(frozen=True)
class Plan:
    """All that decides what comes out, beside the videos and the start."""

    seed: int
    steps: int
    recipe: Recipe
    learning_rate: float
    start_sha256: str  # of the file of numbers to start from
    videos_sha256: str  # of what is trained on
    held_sha256: str  # of what is held out: what was measured on the way belongs to it
    cut: dict[str, object]  # how the faces were, see settings.json


@dataclass(frozen=True)
class Machine:
    """Where it is computed; the GPU if there is one."""

    device: torch.device
    half: bool  # mixed precision
    loaders: int  # processes that make batches
    checkpoint_s: float = 60.0  # between two checkpoints

    @classmethod
    def this(cls, cores: int, checkpoint_s: float) -> "Machine":
        """The GPU with mixed precision and all cores making batches; or all cores computing, unless OMP_NUM_THREADS."""
        gpu = torch.cuda.is_available()
        return cls(torch.device("cuda" if gpu else "cpu"), gpu, cores if gpu else max(1, cores // 2), checkpoint_s)


class Training:
    """Network, optimiser and all they carry from step to step."""

    def __init__(self, plan: Plan, machine: Machine) -> None:
        torch.manual_seed(plan.seed)  # the last layer starts at random
        self.plan, self.machine = plan, machine
        self.net = FaceNet()
        load_start(self.net)
        self.net.to(machine.device, memory_format=torch.channels_last)
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=plan.learning_rate, weight_decay=WEIGHT_DECAY)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, plan.learning_rate, total_steps=plan.steps, pct_start=WARM_UP
        )
        self.scaler = torch.amp.GradScaler(machine.device.type, enabled=machine.half)
        self.done = 0  # steps
        self.history: list[Row] = []  # what was measured on the way

    def step(self, crops: Tensor, labels: Tensor) -> float:
        """One step of descent; the loss before it."""
        torch.manual_seed(1_000_003 * self.plan.seed + self.done)  # dropout, the same after a resumption
        self.net.train()
        to = {"device": self.machine.device, "non_blocking": True}
        with torch.autocast(self.machine.device.type, dtype=torch.float16, enabled=self.machine.half):
            loss = binary_cross_entropy_with_logits(self.net(crops.to(**to)).float(), labels.to(**to))
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), MAX_GRADIENT)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.schedule.step()
        self.done += 1
        return loss.item()

    def parts(self) -> dict[str, object]:
        """What has a state_dict, by name."""
        return {"net": self.net, "optimizer": self.optimizer, "schedule": self.schedule, "scaler": self.scaler}

    def save(self, path: Path) -> None:
        """A checkpoint, whole or not at all."""
        content = {name: part.state_dict() for name, part in self.parts().items()}
        part = path.with_name(f".{path.name}.part")
        torch.save({"plan": asdict(self.plan), "done": self.done, "history": self.history, **content}, part)
        with part.open("rb+") as file:
            os.fsync(file.fileno())  # a rename that outlives the content would be no checkpoint
        part.replace(path)

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint. Raises StopError if another plan made it."""
        content = read_checkpoint(path, self.machine.device)
        if told := differences(content["plan"], asdict(self.plan)):
            raise StopError(
                f"{path} was made with other settings or videos ({told}): remove it, or choose another --work"
            )
        for name, part in self.parts().items():
            part.load_state_dict(content[name])
        self.done, self.history = content["done"], content["history"]


def read_checkpoint(path: Path, device: torch.device) -> dict[str, Any]:
    """What `Training.save` wrote. Raises StopError if it is damaged."""
    try:
        if path.is_file() and not zipfile.is_zipfile(path):
            raise RuntimeError("not a file of PyTorch")
        content: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except RuntimeError as error:
        raise StopError(f"{path} is damaged ({error}): remove it, and that training begins anew") from error
    return content


def differences(then: dict[str, Any], now: dict[str, Any]) -> str:
    """What two plans differ in, in words; nothing if they are the same."""
    was, has = flat(then), flat(now)
    names = [name for name in {**was, **has} if was.get(name) != has.get(name)]
    return "; ".join(f"{name[-1]} was {was.get(name)}, is {has.get(name)}" for name in names)


def flat(plan: dict[str, Any]) -> dict[tuple[str, ...], Any]:
    """With the parts of its parts, each under the names that lead to it."""
    found: dict[tuple[str, ...], Any] = {}
    for name, value in plan.items():
        if isinstance(value, dict):
            found.update({(name, part): of_part for part, of_part in value.items()})
        else:
            found[name,] = value
    return found


def fit(
    training: Training,
    entries: list[Entry],
    checkpoint: Path,
    last: int,
    measure: Callable[[Training], Row],
    stop: Event,
) -> None:
    """Train on from wherever the checkpoint stands up to step `last` of the plan's.

    At each step of `measured_at` the network is kept (`kept`) and what `measure` says goes into `training.history`. A
    checkpoint is left every `checkpoint_s` seconds and at the end. Once `stop` is set, one is left after the step in
    hand, and StoppedError raised.
    """
    plan, machine = training.plan, training.machine
    if checkpoint.exists():
        training.resume(checkpoint)
        print(f"{checkpoint.stem}: goes on after step {training.done} of {last}", flush=True)
    clock, saved = Clock(checkpoint.stem, training.done, last), time.monotonic()
    recent: list[float] = []
    for crops, labels in loader(training, entries, last):
        recent.append(training.step(crops, labels))
        clock.tick(training.done, recent[-1])
        if training.done in measured_at(plan.steps):
            row = {"step": training.done, "loss": sum(recent) / len(recent), "seconds": clock.seconds}
            training.history.append(row | measure(training))
            save(training.net, kept(checkpoint, training.done))
            recent = []
        at_end, stopping = training.done == last, stop.is_set()
        if at_end or stopping or time.monotonic() - saved > machine.checkpoint_s:
            training.save(checkpoint)
            saved = time.monotonic()
        if stopping and not at_end:
            raise StoppedError(f"stopped after step {training.done} of {last} of {checkpoint.stem}")


def kept(checkpoint: Path, step: int) -> Path:
    """Where the network as it was after `step` lies, beside the checkpoint."""
    return checkpoint.with_name(f"{checkpoint.stem}-{step}.npz")


def loader(training: Training, entries: list[Entry], last: int) -> DataLoader:
    """The batches that are still to come, made by processes of their own, in order."""
    return DataLoader(
        Batches(entries, training.plan.recipe),
        batch_size=None,
        sampler=range(training.done, last),
        num_workers=training.machine.loaders,
        worker_init_fn=leave_ctrl_c_to_the_parent,
        pin_memory=training.machine.half,
    )


def leave_ctrl_c_to_the_parent(_: int) -> None:
    """A terminal sends Ctrl-C to every process; the one that trains must still get its batch."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def measured_at(steps: int) -> list[int]:
    """After which of so many steps it is measured; the last is one of them."""
    return sorted({max(1, round(steps * (n + 1) / MEASUREMENTS)) for n in range(MEASUREMENTS)})


class Clock:
    """A line now and then: which step, the loss, how long still."""

    def __init__(self, name: str, done: int, total: int) -> None:
        self.name, self.first, self.total = name, done, total
        self.started = self.said = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since this process began, in this part of the training."""
        return round(time.monotonic() - self.started, 1)

    def tick(self, done: int, loss: float) -> None:
        """One step more."""
        now = time.monotonic()
        if now - self.said < EVERY_S and done < self.total:
            return
        self.said = now
        left = round((self.total - done) * (now - self.started) / (done - self.first))
        print(f"{self.name}: step {done}/{self.total}, loss {loss:.3f}, {left // 60}:{left % 60:02d} left", flush=True)
