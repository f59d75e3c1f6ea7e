"""Any object with `encode` and `decode` as a method, so that it is measured as every other model is."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lvm_bench.errors import UserError
from lvm_bench.modelling.contract import Method, Spec
from lvm_bench.modelling.posteriors import Posterior, each, is_posterior, standard_normal_log_prob
from lvm_bench.suites.job import MOST_LATENT
from lvm_bench.text import of_error

NO_PRIOR = "this model declares no prior"

BEYOND = 0.5  # of the value range: what lies further outside is of another range, what lies nearer is clamped

OWN = "model: "  # begins the names of a given model's settings in tables

_PROBES = 2  # images that tell the shape of codes


class Given(nn.Module):
    """Stands where a method has a network of its own: the networks of a given model are in `parts`."""


class Adapted(Method):
    """A given model: `model.encode(x)` gives a code of any shape to each image, `model.decode(z)` takes such codes.

    Estimators see the codes flat, [b l]. What the model may have beside these two:
    `value_range` of its images, (0, 1) unless told; `shape` of its images; `posterior(x)` as in the contract;
    `prior(n)` with `target_variance` and `log_prior(z)`, where None says that it has no prior and nothing says N(0, I);
    `settings`, a dict that tables show. UserError where its codes or images are not what they must be.
    """

    def __init__(self, model: Any, spec: Spec):
        super().__init__(Given(), Given(), spec)
        self.model = [model]  # in a list: a module is to be registered once, among the parts
        found = [model] if isinstance(model, nn.Module) else getattr(model, "__dict__", {}).values()
        self.parts = nn.ModuleList(part for part in found if isinstance(part, nn.Module))
        self.requires_grad_(False).eval()
        self.value_range: tuple[float, float] = getattr(model, "value_range", (0, 1))
        self.code_shape = code_shape(model, spec.shape)
        if (l := math.prod(self.code_shape)) != spec.latent:
            raise UserError(f"{_name(model)}: its codes have {l} numbers, and the latent size is {spec.latent}.")
        own = {f"{OWN}{key}": str(value) for key, value in getattr(model, "settings", {}).items()}
        self.worked_out = {**own, "network": "its own", "width": "its own"}

    @property
    def own(self) -> Any:
        """The given model."""
        return self.model[0]

    @property
    def cannot_sample(self) -> str:
        return NO_PRIOR if getattr(self.own, "prior", "") is None else ""

    @property
    def target_variance(self) -> float | None:
        return getattr(self.own, "target_variance", None if hasattr(self.own, "prior") else 1.0)

    def encode(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b l"]:
        return _checked(self.own, "encode", self._to_own(x), (len(x), *self.code_shape)).flatten(1)

    def decode(self, z: Float[Tensor, "b l"]) -> Float[Tensor, "b c h w"]:
        """The image of each code, clamped to the model's value range and mapped to that of the data."""
        images = _checked(self.own, "decode", z.unflatten(1, self.code_shape), (len(z), *self.spec.shape))
        low, high = self.value_range
        return _mapped(images.clamp(low, high), self.value_range, self.spec.value_range)

    def posterior(self, x: Float[Tensor, "b c h w"]) -> Posterior | None:
        if not hasattr(self.own, "posterior"):
            return None
        found = self.own.posterior(self._to_own(x))
        return each(found, lambda field: field.float().flatten(1)) if is_posterior(found) else found

    def prior(self, n: int) -> Float[Tensor, "n l"]:
        if not hasattr(self.own, "prior"):
            return super().prior(n)
        device = self.generator.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):  # it draws from torch's own generators
            torch.manual_seed(int(self.draw(_seed)))
            return _checked_codes(self.own, n, self.spec.latent).to(device)

    def log_prior(self, z: Float[Tensor, "b l"]) -> Float[Tensor, " b"] | None:
        if hasattr(self.own, "log_prior"):
            return self.own.log_prior(z)
        return None if hasattr(self.own, "prior") else standard_normal_log_prob(z)

    def _to_own(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return _mapped(x, self.spec.value_range, self.value_range)


def code_shape(model: Any, shape: tuple[int, int, int]) -> tuple[int, ...]:
    """The shape of the code that a model gives to an image of this shape. UserError where it gives none."""
    if isinstance(model, type):
        raise UserError(f"{model.__name__}: is a class. Give an object of it, such as {model.__name__}().")
    for function in ("encode", "decode"):
        if not callable(getattr(model, function, None)):
            raise UserError(f"{_name(model)}: has no function {function}. Give it encode(x) and decode(z).")
    made_for = getattr(model, "shape", shape)
    if tuple(made_for) != shape:
        raise UserError(
            f"{_name(model)}: is made for images of {by_size(made_for)} (c, h, w); the data have {by_size(shape)}."
        )
    low, high = getattr(model, "value_range", (0, 1))
    codes = _checked(model, "encode", torch.full((_PROBES, *shape), (low + high) / 2), None)
    if codes.ndim < 2 or len(codes) != _PROBES or not 2 <= codes[0].numel() <= MOST_LATENT:
        raise UserError(
            f"{_name(model)}: encode(x) of {_PROBES} images gave shape {tuple(codes.shape)}. Give [b l] or [b c h w], "
            f"a code of 2 to {MOST_LATENT:,} numbers for each image."
        )
    return tuple(codes.shape[1:])


def check(model: Any, x: Float[Tensor, "b c h w"], value_range: tuple[float, float]) -> None:
    """UserError unless decode(encode(x)) of these images has their shape, and lies in the model's value range."""
    low, high = own = getattr(model, "value_range", (0, 1))
    codes = _checked(model, "encode", _mapped(x, value_range, own), None)
    made = _checked(model, "decode", codes, tuple(x.shape))
    if (found := far_outside(made, own)) is not None:
        raise UserError(
            f"{_name(model)}: decode(encode(x)) has values from {found[0]:.3g} to {found[1]:.3g}, and its value range "
            f"is {low:g} to {high:g}. Give its class the value_range of its images, as in value_range = (-1, 1), or "
            "scale what decode returns."
        )


def far_outside(values: Tensor, value_range: tuple[float, float]) -> tuple[float, float] | None:
    """The lowest and the highest value, where one lies half a range or more outside; None where none does."""
    low, high = value_range
    margin = BEYOND * (high - low)
    lowest, highest = map(float, values.aminmax()) if values.numel() else (low, high)
    return (lowest, highest) if lowest < low - margin or highest > high + margin else None


def _checked(model: Any, name: str, given: Tensor, shape: tuple[int, ...] | None) -> Float[Tensor, "..."]:
    """What a function of the model gives, as float32. UserError for an error of its own, another shape, or a NaN."""
    try:
        with torch.no_grad():
            found = getattr(model, name)(given)
    except Exception as error:
        raise UserError(f"{_name(model)}: {name} of shape {tuple(given.shape)} raised {of_error(error)}") from error
    if not isinstance(found, Tensor):
        raise UserError(f"{_name(model)}: {name} returned a {type(found).__name__}, not a tensor.")
    if shape is not None and tuple(found.shape) != shape:
        raise UserError(
            f"{_name(model)}: {name} of shape {tuple(given.shape)} gave shape {tuple(found.shape)}; expected {shape}."
        )
    if not bool(found.isfinite().all()):
        raise UserError(f"{_name(model)}: {name} gave values that are not finite.")
    return found.float()


def _checked_codes(model: Any, n: int, latent: int) -> Float[Tensor, "n l"]:
    codes = model.prior(n)
    if not isinstance(codes, Tensor) or len(codes) != n or codes.numel() != n * latent:
        what = tuple(codes.shape) if isinstance(codes, Tensor) else type(codes).__name__
        raise UserError(f"{_name(model)}: prior({n}) gave {what}. Give {n} codes of {latent} numbers.")
    return codes.float().flatten(1)


def _seed(generator: torch.Generator) -> Tensor:
    return torch.randint(2**62, (), generator=generator, device=generator.device)


def _mapped(x: Tensor, before: tuple[float, float], after: tuple[float, float]) -> Tensor:
    """Values mapped linearly from one range to another."""
    if tuple(before) == tuple(after):
        return x
    return (x - before[0]) * ((after[1] - after[0]) / (before[1] - before[0])) + after[0]


def _name(model: Any) -> str:
    """How messages call a model: as it says itself, else by its class."""
    return getattr(model, "name", type(model).__name__)


def by_size(shape: tuple[int, ...]) -> str:
    """A shape as messages say it: 1x28x28."""
    return "x".join(map(str, shape))
