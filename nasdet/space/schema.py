"""The search-space file as pydantic models, key by key, and its JSON Schema. Checks that need more than one section
(conditions, paths, constraints) are in `nasdet.space.validate`."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from nasdet.space.domains import Choice, Domain, Integer, Json, Real
from nasdet.space.tiling import Tiling

OBJECTIVES: dict[str, Literal["max", "min"]] = {
    "ap": "max",
    "ap50": "max",
    "latency_ms": "min",
    "params_m": "min",
    "gflops": "min",
}
"""Objectives of detector spaces and the direction each must have."""

COSTS = ("params_m", "gflops", "latency_ms")
"""What constraints may name: known before any training."""

_GENETIC = ("population_size", "mutation_prob", "crossover_prob", "swapping_prob")
SAMPLER_OPTIONS: dict[str, tuple[str, ...]] = {
    "tpe": ("n_ei_candidates", "multivariate", "group", "constant_liar"),
    "gp": ("deterministic_objective",),
    "nsga2": _GENETIC,
    "nsga3": (*_GENETIC, "dividing_parameter"),
}
"""What `sampler.options` may hold, by `sampler.kind`: arguments of Optuna's sampler of that name. Others take none."""

Score = Literal["entropy", "naswot"]
"""Training-free scores that a study may log, by name; `nasdet.models.training_free_scores` computes them."""

SamplerKind = Literal["auto", "tpe", "gp", "nsga2", "nsga3", "qmc", "random"]
SchedulerKind = Literal["auto", "halving", "full", "freeze_thaw"]
AutoInt = Annotated[int, Field(ge=1)] | Literal["auto"]
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_seconds(value: Any) -> Any:
    """Seconds of a duration such as "90s", "10m", "1h30m", "2d"; numbers are seconds."""
    if isinstance(value, bool) or not isinstance(value, str):
        return value
    if not re.fullmatch(r"\s*(\d+(\.\d+)?\s*[smhd]\s*)+", value):
        raise ValueError(f"{value!r} is not a duration; write for example '90s', '10m', '1h30m'")
    return sum(float(n) * _SECONDS[unit] for n, _, unit in re.findall(r"(\d+(\.\d+)?)\s*([smhd])", value))


Seconds = Annotated[float, BeforeValidator(parse_seconds, json_schema_input_type=str | float), Field(gt=0)]


class Section(BaseModel):
    """Base of all parts of the file: frozen, unknown keys are errors, no silent conversion of types."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class DataConfig(Section):
    """Which images."""

    source: str | None = None
    """digits, a folder in COCO, Pascal VOC or YOLO layout, or a YAML naming the parts; None: given by --data."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the built-in set and of the split where there are no split files."""
    max_bad: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Largest share of bad annotations that are skipped with a count; more stops the run."""
    tile: Tiling | None = None
    """Cuts images into overlapping tiles (docs/data.md); a data YAML that says `tile:` goes first."""


class ObjectiveEntry(Section):
    """One objective as written in the file."""

    name: Annotated[str, Field(min_length=1)]
    """ap, ap50, latency_ms, params_m or gflops; free for a space of one's own function."""
    direction: Literal["max", "min"] | None = None
    """max or min; may be left out for the known names."""


class Budget(Section):
    """How much may be spent."""

    trials: Annotated[int, Field(ge=1)] | None = None
    """Candidates to train, early-stopped ones included; None: until the time is up."""
    epochs: Annotated[int, Field(ge=1)] = 12
    """Epochs of one full training; the learning-rate schedule is laid over them."""
    rungs: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """Cumulative epochs at which candidates are compared, the last equals `epochs`; empty: by the scheduler's eta."""
    total_epochs: Annotated[int, Field(ge=1)] | None = None
    """Epochs of all candidates together; None: until the trials or the time are up."""
    time_limit: Seconds | None = None
    """Seconds for the whole search, or a text such as 10m; None: until the trials are done."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the sampler and of every training."""

    @model_validator(mode="after")
    def _rungs_rise(self) -> Self:
        if list(self.rungs) != sorted(set(self.rungs)):
            raise ValueError(f"rungs must rise, got {list(self.rungs)}")
        if self.rungs and self.rungs[-1] != self.epochs:
            raise ValueError(f"the last rung {self.rungs[-1]} must equal epochs {self.epochs}")
        return self


class SamplerConfig(Section):
    """What proposes candidates."""

    kind: SamplerKind = "auto"
    """auto: tpe."""
    options: dict[str, Any] = {}
    """Arguments of Optuna's sampler: see SAMPLER_OPTIONS; auto, qmc and random take none."""


class SchedulerConfig(Section):
    """What stops candidates early."""

    kind: SchedulerKind = "auto"
    """auto: freeze_thaw, or halving where sampler.kind is set. freeze_thaw: a model of learning curves decides at every
    step which new or paused candidate trains next; sampler.kind is not used. halving: only the best share of each rung
    goes on to the next. full: all are trained in full."""
    eta: Annotated[int, Field(ge=1)] = 3
    """One of `eta` candidates is promoted from rung to rung; 1: all of them, compared at `budget.rungs`."""


class Resources(Section):
    """What one trial may use, and how many run at once."""

    workers: AutoInt = "auto"
    """Processes that train one candidate together (DDP)."""
    concurrent: AutoInt = "auto"
    """Candidates trained at the same time."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where training runs."""
    threads: AutoInt = "auto"
    """CPU threads of each worker."""
    gpus_per_worker: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of a GPU for each worker: 0.5 trains two candidates on one GPU."""
    gpus: Annotated[int, Field(ge=1)] | None = None
    """GPUs to plan for, some of which may join the cluster later; None: those that are there."""
    gpu: str = ""
    """Kind of GPU to train on, such as A100; empty: any, or the only one where latency is measured on it."""
    disk_gb: Annotated[float, Field(gt=0)] = 20.0
    """1e9 bytes that checkpoints of paused candidates may take; beyond it the least promising ones are stopped."""
    hang_timeout: Seconds = 300.0
    """Seconds without progress after which a training ends and goes on from its checkpoint, or a text such as 5m."""

    @model_validator(mode="after")
    def _gpus_and_device_agree(self) -> Self:
        if self.device == "cpu" and (self.gpu or self.gpus):
            raise ValueError("gpu and gpus are for training on GPUs, and device is cpu: leave one of them out")
        return self


class LatencyConfig(Section):
    """How `latency_ms` is measured."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """The target device; auto: where training runs."""
    batch: Annotated[int, Field(ge=1)] = 1
    """Images per call; latency is that of the whole call."""
    threads: AutoInt = "auto"
    """CPU threads."""
    backend: Literal["torch", "onnxruntime", "command"] = "torch"
    """Measured in PyTorch, in ONNX Runtime on the CPU, or by a command that is given the candidate's model.onnx."""
    command: str | None = None
    """Program and arguments; {model} and {shape} become the path of model.onnx and a shape such as 1x3x256x256.
    Its last line is the milliseconds."""
    timeout: Seconds = 120.0
    """Seconds that the command may take, or a text such as 2m."""

    @model_validator(mode="after")
    def _command_and_backend_agree(self) -> Self:
        if (self.backend == "command") != bool((self.command or "").strip()):
            raise ValueError("backend command and a command go together: give both or neither")
        if self.backend == "onnxruntime" and self.device == "cuda":
            raise ValueError("backend onnxruntime measures on the CPU: write device: cpu, or use backend command")
        return self


class RulesConfig(Section):
    """Rules of the literature that act on every candidate."""

    off: tuple[str, ...] = ()
    """Names of rules that are switched off."""


class StartConfig(Section):
    """An earlier study to go on from."""

    study: str | None = None
    """Folder or name of the study. Its front is tried first, as far as it has parameters of this space."""
    pick: str | None = None
    """One of its trials, by the rules of `nasdet export --pick`. What this space does not search gets its values."""


ENOUGH_TAU = 0.7
"""Kendall's tau above which a short training is taken to rank candidates like a full one."""


class CalibrationConfig(Section):
    """What `nasdet calibrate --write` found: how well a short training ranks candidates."""

    epochs: Annotated[int, Field(ge=1)]
    """Length of the short training."""
    tau: Annotated[float, Field(ge=-1, le=1)]
    """Kendall's tau with the order after a full training."""
    low: Annotated[float, Field(ge=-1, le=1)]
    """Lower end of its 95% interval."""
    high: Annotated[float, Field(ge=-1, le=1)]
    """Upper end."""
    models: Annotated[int, Field(ge=1)]
    """Candidates behind it."""


class _Entry(Section):
    when: dict[str, Any] = {}
    """The parameter exists only where each named parameter has this value, or one of these values."""

    def domain(self) -> Domain:
        """The frozen domain."""
        raise NotImplementedError

    @model_validator(mode="after")
    def _has_a_domain(self) -> Self:
        self.domain()
        return self


class ChoiceEntry(_Entry):
    """One of a few listed values."""

    kind: Literal["choice"]
    values: list[Json]
    """All different; each may be a list."""

    def domain(self) -> Choice:
        """The frozen domain."""
        return Choice(tuple(self.values))


class IntEntry(_Entry):
    """A whole number."""

    kind: Literal["int"]
    low: int
    """Smallest value."""
    high: int
    """Largest value."""
    step: int = 1
    """Distance of neighbours."""
    log: bool = False
    """Sample on the logarithm."""

    def domain(self) -> Integer:
        """The frozen domain."""
        return Integer(self.low, self.high, self.step, self.log)


class FloatEntry(_Entry):
    """A real number."""

    kind: Literal["float"]
    low: float
    """Smallest value."""
    high: float
    """Largest value."""
    log: bool = False
    """Sample on the logarithm."""

    def domain(self) -> Real:
        """The frozen domain."""
        return Real(self.low, self.high, self.log)


AnyEntry = ChoiceEntry | IntEntry | FloatEntry
"""The domain of one parameter as written in the file."""


class SpaceFile(Section):
    """A search-space file after `extends` and `--set`."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")] | None = None
    """Name of the experiment; the file's name if left out."""
    description: str = ""
    """One paragraph for people."""
    data: DataConfig = DataConfig()
    fixed: dict[str, Any] = {}
    """Values that every candidate has: a nested part of the detector's specification, and `recipe`."""
    space: Annotated[dict[str, Annotated[AnyEntry, Field(discriminator="kind")]], Field(min_length=1)]
    """Dotted path of a value to its domain."""
    objectives: Annotated[tuple[ObjectiveEntry, ...], Field(min_length=1)]
    constraints: tuple[str, ...] = ()
    """Such as 'params_m <= 5'; names: params_m, gflops, latency_ms."""
    budget: Budget = Budget()
    sampler: SamplerConfig = SamplerConfig()
    scheduler: SchedulerConfig = SchedulerConfig()
    resources: Resources = Resources()
    latency: LatencyConfig = LatencyConfig()
    rules: RulesConfig = RulesConfig()
    points: tuple[dict[str, Any], ...] = ()
    """Values to try first, one mapping of path to value each; what is left out is sampled."""
    start: StartConfig = StartConfig()
    scores: tuple[Score, ...] = ()
    """Training-free scores logged with every trial as score_NAME; `nasdet pareto` compares their ranking with that by
    size."""
    calibration: CalibrationConfig | None = None


def json_schema() -> dict[str, Any]:
    """JSON Schema of a search-space file, for editors (yaml-language-server).

    Entries of `space` may be null and nothing is required, because a file may extend another one.
    """
    schema = SpaceFile.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "nasdet search space"
    schema["properties"]["extends"] = {
        "type": "string",
        "description": "Another search space, relative to this file or bundled; this file's keys are laid over it.",
    }
    schema.pop("required", None)
    entries = schema["properties"]["space"]
    entries.pop("minProperties", None)
    entries["additionalProperties"] = {"anyOf": [entries["additionalProperties"], {"type": "null"}]}
    return schema
