"""A suite's jobs with every setting resolved, and what of a job decides its weights and its scores."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from lvm_bench.errors import did_you_mean
from lvm_bench.text import shortened

# Upper limits stand where a slip of the pen would fill the memory, or a year, before anybody notices.
MOST = 10_000_000  # images, draws or epochs
MOST_CODES = 1000  # held-out codes that a run leaves for figures
MOST_LATENT = 16_384  # more than the numbers of a 64 x 64 colour image
MOST_SECONDS = 1e12  # of a training or an evaluation

SEEDS = 2**63  # seeds are below: TOML's own limit

Count = Annotated[int, Field(ge=1, le=MOST)] | Literal["all"]

Seed = Annotated[int, Field(ge=0, lt=SEEDS)]


Streams = Literal["single", "paired"]

Weights = Literal["last", "best"]

Beta = Annotated[float, Field(ge=0, lt=1)]


EXPOST = {
    "mixture": "A mixture of Gaussians with full covariances, fitted by scikit-learn.",
    "flow": "A masked autoregressive flow. Papamakarios et al. 2017, arXiv:1705.07057.",
    "vae": "The second stage of a two-stage VAE. Dai & Wipf 2019, arXiv:1903.05789.",
}  # the samplers that `expost` may name


def _expost(names: list[str]) -> list[str]:
    """The chosen ex-post samplers, each once and in the order of `EXPOST`. ValueError for an unknown name."""
    for name in names:
        if name not in EXPOST:
            raise ValueError(f"unknown ex-post sampler {shortened(name)}.{did_you_mean(name, EXPOST)}".rstrip("."))
    return [name for name in EXPOST if name in names]


class TrainingSettings(BaseModel):
    """The settings that decide a run's weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    network: str
    width: float = Field(gt=0, le=64)
    latent: int = Field(ge=2, le=MOST_LATENT)
    likelihood: Literal["bernoulli", "sse", "gaussian_unit"]
    train_images: Count
    validation_images: Count
    epochs: int = Field(ge=0, le=MOST)  # 0: the weights stay as they are
    batch_size: int = Field(ge=2, le=MOST)
    learning_rate: float = Field(gt=0)
    patience: int = Field(ge=1)
    factor: float = Field(gt=0, lt=1)
    threshold: float = Field(ge=0)
    threads: int = Field(ge=1, le=1024)  # torch starts them all at once
    precision: Literal["float32", "tf32", "bf16"] = "float32"  # of the networks' matrix products
    seeds_per_batch: int = Field(default=1, ge=1, le=1000)  # seeds of a method that are trained together
    entropy_every: int = Field(default=0, ge=0)  # epochs between two entropies of validation codes; 0: none is logged
    streams: Streams = "single"  # of random numbers: "paired" draws alike for all methods of a seed
    betas: tuple[Beta, Beta] = (0.9, 0.999)  # of the model's Adam
    flips: bool = False  # whether training images are mirrored left to right at random


class EvaluationSettings(BaseModel):
    """The settings that decide a run's scores, given its weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    extractor: str
    protocol: Literal["official-test", "avae-paper", "validation"]
    test_images: Count
    weights: Weights
    samples: int = Field(ge=2, le=MOST)
    kid_subsets: int = Field(ge=1, le=MOST)
    kid_subset_size: int = Field(ge=2, le=MOST)
    neighbours: int = Field(ge=1, le=MOST)
    metrics: list[str] | Literal["all"]
    sap_samples: int = Field(ge=3, le=MOST)
    dci_samples: int = Field(ge=3, le=MOST)
    votes: int = Field(ge=2, le=MOST)
    direction_images: int = Field(ge=2, le=MOST)
    classifier_epochs: int = Field(ge=1, le=MOST)
    expost: Annotated[list[str], AfterValidator(_expost)] = []  # ex-post samplers beside the full Gaussian
    expost_components: int = Field(default=10, ge=1, le=MOST)
    expost_flow_epochs: int = Field(default=50, ge=1, le=MOST)
    expost_vae_epochs: int = Field(default=800, ge=1, le=MOST)
    expost_vae_hidden: int = Field(default=1024, ge=1, le=MOST_LATENT)
    importance_samples: int = Field(default=500, ge=1, le=MOST)  # codes of an image in bounds of log p(x)
    bound_images: int = Field(default=1000, ge=1, le=MOST)  # images of these bounds, at most


def is_chosen(metric: str, costly: bool, chosen: list[str] | Literal["all"]) -> bool:
    """Whether a suite's `metrics` choose a metric: by its name, or by "all" unless it is costly."""
    names = {chosen} if isinstance(chosen, str) else {*chosen}
    return metric in names or ("all" in names and not costly)


class RunningSettings(BaseModel):
    """The settings that change how a suite is run, and no result."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    checkpoint_seconds: float = Field(ge=0)
    gpus_per_job: float = Field(gt=0)


SETTINGS = {**TrainingSettings.model_fields, **EvaluationSettings.model_fields}

_OF_CONTROLS = ("dataset", "options", "latent", "train_images", "validation_images", "seed", "threads")


class Plan(BaseModel):
    """The suite's description, order and seeds around a job. Tables need them, and no result depends on them."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    description: str
    order: int = Field(ge=0, lt=SEEDS)  # of the method in the suite
    seeds: list[Seed]  # of the suite on this data set
    axis: str = ""  # the setting or argument that an ablation's methods differ in
    published: str = ""  # the source of published numbers that stand beside the suite's
    changed: list[str] = Field(
        default_factory=list, max_length=1000
    )  # from the suite's own settings: `epochs 60 -> 10`

    def record(self) -> dict[str, Any]:
        """What job.json keeps: `published` and `changed` where there is something to say."""
        return self.model_dump(exclude={name for name in ("published", "changed") if not getattr(self, name)})


@dataclass(frozen=True)
class Job:
    """One run: a method on a data set from one seed, with every setting resolved."""

    suite: str
    dataset: str
    method: str
    seed: int
    dataset_base: str
    method_base: str
    options: dict[str, Any]  # of the data set
    arguments: dict[str, Any]  # of the method
    training: TrainingSettings
    evaluation: EvaluationSettings
    conditions: dict[str, Any]  # what the suite gives every method on this data set
    plan: Plan
    metrics: dict[str, int] = field(default_factory=dict)  # those that it is scored with, and the version of each
    shown: dict[str, Any] = field(default_factory=dict)  # how plug-ins and variants are shown: `labels.to_record`
    ranges: dict[str, tuple[str, Any]] = field(default_factory=dict)  # what `tune` draws from, with its path
    files: list[str] = field(default_factory=list)  # that a given model's weights come from: `given.checksums`
    staged: bool = False  # whether the training has later stages

    @property
    def name(self) -> str:
        return f"{self.dataset}/{self.method}/seed-{self.seed}"

    @property
    def is_control(self) -> bool:
        """Whether it measures the floor of a metric, without a model."""
        return is_control(self.method)

    def control(self, name: str) -> "Job":
        """The control of that name for this job's data set and seed."""
        return replace(self, method=name, method_base=name, arguments={}, files=[], staged=False)

    def normal(self) -> "Job":
        """Exact prior draws of this job's latent size, which their name tells unless it is that of the suite."""
        l = self.training.latent
        name = NORMAL if l == self.conditions.get("latent", l) else f"{NORMAL}-{l}"
        return replace(self.control(NORMAL), method=name)

    def weights_settings(self) -> dict[str, Any]:
        """The settings that change the weights, as plain JSON. Their digest is half of the run's identity."""
        return {
            "dataset": self.dataset_base,
            "options": self.options,
            "method": self.method_base,
            "arguments": self.arguments,
            "seed": self.seed,
            **({"files": self.files} if self.files else {}),
            # A later stage begins with the best weights of the one before where the best are scored.
            **({"weights": "best"} if self.staged and self.evaluation.weights == "best" else {}),
            # A setting that came later is left out at its default: runs from before it keep their identity.
            **self.training.model_dump(exclude_defaults=True),
        }

    def scores_settings(self) -> dict[str, Any]:
        """The settings that change the scores, as plain JSON: the weights' and the evaluation's.

        Of a control: the data and the evaluation alone.
        """
        weights = self.weights_settings()
        if self.is_control:
            weights = {key: weights[key] for key in _OF_CONTROLS}
        return {**weights, **self.evaluation.model_dump(exclude_defaults=True)}


@dataclass
class Suite:
    """A named set of jobs, the files outside the package that they need, and the plug-ins that would not load."""

    name: str
    description: str
    methods: list[str]
    datasets: list[str]
    seeds: list[int]
    jobs: list[Job]
    running: RunningSettings
    loaded: list[Path]
    broken: dict[str, str]  # method: why its file cannot be loaded

    @property
    def controls(self) -> list[Job]:
        """The controls of every data set and seed, each once: prior draws of each latent size that its methods have.

        An ablation of the latent size has one size of them, which no table shows.
        """
        firsts: dict[tuple[str, int], dict[int, Job]] = {}  # by data set and seed, then by latent size
        for job in self.jobs:
            firsts.setdefault((job.dataset, job.seed), {}).setdefault(job.training.latent, job)
        found = []
        for first, *others in (tuple(sizes.values()) for sizes in firsts.values()):
            found.append(first.control("real-images"))
            if first.plan.axis == "latent":
                found.append(first.control(NORMAL))
            else:
                found += [job.normal() for job in (first, *others)]
        return found


NORMAL = "standard-normal"
CONTROLS = ("real-images", NORMAL)  # held-out images as samples, exact prior draws as codes


def is_control(method: str) -> bool:
    """Whether a method's name is that of a control; `standard-normal-64` has another latent size than the suite."""
    return method in CONTROLS or method.startswith(f"{NORMAL}-")
