"""One measurement of ``lockstep.py``, in a process of its own. Imports torch only when it measures."""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from typing import TYPE_CHECKING, Any

from hardware import processor
from lockstep_cases import CASES, Case, dataset, members, recipe
from lockstep_memory import Held, status_bytes

if TYPE_CHECKING:
    from trainables import LockstepPack

WARM_UP_STEPS = {"cuda": (4, 12), "cpu": (2, 2)}
"""Not timed, by device: models are built, kernels chosen, memory taken. So many at least; where they are quick, so many."""
COMPILING_STEPS = 4
"""Of a compiled pack, before its warm-up: they are compiled, captured and checked."""
LEAST_S = 0.25
"""Less than that is no measurement, unless less is asked for: the images ended too soon."""
BARRIER_S = 240.0
"""How long processes that share a device wait for each other, after the warm-up and at the end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What a process is to measure."""

    case: str
    kind: str
    """``loop`` or ``fused``."""
    members: int
    device: str
    """``cpu`` or ``cuda``."""
    seconds: float
    """How long to train, at least, if there are images enough."""
    threads: int
    """Of torch, in this process."""
    decode_workers: int
    jpegs: str | None
    """The folder of the JPEG dataset, where the case needs it."""
    compile_mode: str | None = None
    """``torch.compile``'s; None: nothing is compiled."""
    gpu_before: int = 0
    """Bytes of the GPU that were in use before any process began."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """What came of it."""

    images_trials_per_s: float = 0.0
    """Images trained on per second, times the trials that each of them trained."""
    steps: int = 0
    """Timed."""
    seconds: float = 0.0
    """Of the timed steps."""
    cpu_s: float = 0.0
    """CPU time of this process in these steps, all its threads; that of decoding processes is not in it."""
    start_s: float = 0.0
    """Before them: models are built, stacked, compared, compiled or captured; the warm-up, and more untimed steps."""
    compile_s: float = 0.0
    """The part of it that the first compiled steps took."""
    gpu_bytes: int = 0
    """What the whole GPU had in use after the last timed step, less what was in use before; 0 on a CPU."""
    memory_bytes: int = 0
    """Main memory. With a GPU, what this process and its decoders had after the last timed step; on a CPU, the most that
    building and training made this process grow by, its decoders not included."""
    note: str = ""
    """Why a fused pack went on in a loop."""
    problem: str = ""
    """Why nothing was measured."""


@dataclass(slots=True)
class Window:
    """Times the steps after the warm-up; a pack asks it between two steps whether to pause."""

    warm_up: tuple[int, int]
    """Steps, at least; and at most if these take longer than ``seconds``."""
    stride: int
    """The warm-up and the timed steps are multiples of so many."""
    last: int
    """The window ends by this step at the latest."""
    settling: int
    """Steps after ``ready`` that are not timed either."""
    seconds: float
    synchronise: Callable[[], None]
    ready: Callable[[], None]
    """Called at the end of the warm-up."""
    ended: Callable[[], None]
    """Called after the last timed step, while all of the training is still held."""
    steps: int = 0
    first: float = 0.0
    """When the first step had been done."""
    settled: int = 0
    """The step after which time counts; 0 during the warm-up."""
    before: int = 0
    """Steps that are not timed."""
    began: float = 0.0
    """When they had been done; 0 before that."""
    elapsed: float = 0.0
    cpu_s: float = 0.0
    """CPU time of this process: when the timed steps began, then since."""

    @property
    def timed(self) -> int:
        """Steps that are timed."""
        return self.steps - self.before

    def __call__(self) -> bool:
        """Whether the window has ended."""
        self.steps += 1
        self.first = self.first or time.perf_counter()
        if self.steps % self.stride:
            return False
        if not self.began:
            self._perhaps_begin()
            return False
        if time.perf_counter() - self.began < self.seconds and self.steps + self.stride <= self.last:
            return False
        self.synchronise()
        self.elapsed, self.cpu_s = time.perf_counter() - self.began, time.process_time() - self.cpu_s
        self.ended()
        return True

    def _perhaps_begin(self) -> None:
        if not self.settled and self._warm():
            self.synchronise()
            self.ready()
            self.settled = self.steps + self.settling
        if self.settled and self.steps >= self.settled:
            self.synchronise()
            self.before, self.began, self.cpu_s = self.steps, time.perf_counter(), time.process_time()

    def _warm(self) -> bool:
        least, most = self.warm_up
        slow = self.steps >= least and time.perf_counter() - self.first > self.seconds
        return slow or self.steps >= most


def work(asked: Asked, barrier: Barrier, answer: Connection) -> None:
    """Measures and sends what came of it; the barrier is that of the processes that share the device."""
    import torch

    try:
        measured = _measure(asked, barrier)
    except (torch.OutOfMemoryError, MemoryError):
        barrier.abort()
        measured = Measured(problem="out of memory")
    except Exception as error:  # noqa: BLE001 - a measurement that fails is a row of the table
        barrier.abort()
        measured = Measured(problem=" ".join(f"{type(error).__name__}: {error}".split())[:300])
    answer.send(measured)


def _measure(asked: Asked, barrier: Barrier) -> Measured:
    import torch

    torch.set_num_threads(asked.threads)
    case, gpu = CASES[asked.case], asked.device == "cuda"
    resting, held = status_bytes("VmRSS"), Held()
    data = dataset(case, asked.device, asked.jpegs)
    started = time.perf_counter()
    pack = _pack(asked, case, data)
    compile_s = _compile(pack, asked)
    window = Window(
        warm_up=WARM_UP_STEPS[asked.device],
        stride=case.stride,
        last=data.num_train // case.batch_size - 1 - pack.step,
        # While processes wait for each other, their decoders go on: what they get done then is trained on untimed.
        settling=case.steps_ahead(asked.decode_workers),
        seconds=asked.seconds,
        synchronise=torch.cuda.synchronize if gpu else _nothing,
        ready=lambda: _wait(barrier),
        ended=(lambda: held.look(barrier, BARRIER_S)) if gpu else _nothing,
    )
    pack.run_epoch(pause=window)
    _require_live(pack)
    _require_time(window)
    return Measured(
        images_trials_per_s=window.timed * case.batch_size * asked.members / window.elapsed,
        steps=window.timed,
        seconds=window.elapsed,
        cpu_s=window.cpu_s,
        start_s=window.began - started,
        compile_s=compile_s,
        gpu_bytes=held.gpu - asked.gpu_before if gpu else 0,
        memory_bytes=held.main if gpu else status_bytes("VmHWM") - resting,
        note=getattr(pack, "note", None) or "",
    )


def _compile(pack: "LockstepPack", asked: Asked) -> float:
    """Seconds of the first compiled steps; 0 if nothing is to be compiled."""
    if asked.compile_mode is None:
        return 0.0
    from lockstep_compiled import compile_pack

    pack.run_epoch(pause=lambda: True)
    compile_pack(pack, asked.compile_mode)
    began, steps = time.perf_counter(), itertools.count(1)
    pack.run_epoch(pause=lambda: next(steps) == COMPILING_STEPS)
    return time.perf_counter() - began


def _nothing() -> None:
    """A CPU has nothing outstanding."""


def _wait(barrier: Barrier) -> None:
    barrier.wait(BARRIER_S)


def _pack(asked: Asked, case: Case, data: Any) -> "LockstepPack":
    from trainables import LockstepPack
    from trainables.training.fused.pack import FusedPack

    kind = FusedPack if asked.kind == "fused" else LockstepPack
    return kind(
        members(asked.members),
        model=case.model,
        optimizer="adamw",
        data=data,
        recipe=recipe(case),
        epochs=1,
        study_seed=0,
        device=asked.device,
        decode_workers=asked.decode_workers,
    )


def _require_live(pack: "LockstepPack") -> None:
    for result in pack.results():
        if result.status not in ("running", "completed"):
            raise RuntimeError(f"trial {result.key} {result.status}: {result.reason}")


def _require_time(window: Window) -> None:
    """Also where the epoch ended, and the trials with it, before the window did."""
    if not window.elapsed or window.elapsed < min(LEAST_S, window.seconds):
        raise RuntimeError(f"the images ended after {window.elapsed:.2f} s of timed steps")


def machine(device: str, threads: int, cases: list[str], answer: Connection) -> None:
    """Sends what the machine is and what the cases' models cost, as a dictionary.

    ``device``, ``hardware``, ``torch``; ``peak`` (FLOP/s of a large matrix product in the precision of the training);
    ``precision``; ``flops`` (of training on one image, by case: three times those of a forward pass, two for a multiply-add).
    """
    import torch

    from trainables.models.cost import named_model_cost

    torch.set_num_threads(threads)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    flops = {}
    for name in cases:
        case = CASES[name]
        cost = named_model_cost(case.model, num_classes=case.num_classes, image_size=case.image_size)
        flops[name] = 3 * 2 * cost.flops
    answer.send(
        {
            "device": device,
            "hardware": torch.cuda.get_device_name() if device == "cuda" else processor(),
            "torch": torch.__version__,
            "precision": "bfloat16" if device == "cuda" else "float32",
            "peak": _matmul_peak(device),
            "flops": flops,
        }
    )


def _matmul_peak(device: str) -> float:
    """FLOP/s of the product of two large square matrices of random numbers, the median of several."""
    import torch

    side, dtype = (8192, torch.bfloat16) if device == "cuda" else (1024, torch.float32)
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    synchronise = torch.cuda.synchronize if device == "cuda" else _nothing
    rates = []
    for _ in range(12):
        synchronise()
        began = time.perf_counter()
        for _ in range(10):
            left @ right
        synchronise()
        rates.append(10 * 2 * side**3 / (time.perf_counter() - began))
    return sorted(rates[2:])[5]
