"""The contract of a method as tests on small data: behind `lvm-bench check`, and over the whole registry in tests."""

import inspect
import itertools
import math
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import Module

from lvm_bench import registry
from lvm_bench.errors import RunError, Stopped, UserError
from lvm_bench.evaluation.own_pictures import own_pictures
from lvm_bench.execution import check_kinds as kinds
from lvm_bench.execution.check_case import DIGITS, PACKAGED, Case, cases
from lvm_bench.execution.check_densities import (
    likelihood_is_of_each_image,
    posterior_has_its_density,
    prior_has_its_density,
)
from lvm_bench.execution.check_device import Watch
from lvm_bench.execution.check_kinds import Broken, require
from lvm_bench.modelling.contract import Epoch, Method, posterior_of
from lvm_bench.seeding import generator
from lvm_bench.suites.discover import extensions, of_plugin
from lvm_bench.text import counted
from lvm_bench.training.batches import misgiven
from lvm_bench.training.checkpoint import Checkpoints
from lvm_bench.training.state import Trained


def has_a_description(case: Case) -> None:
    """Its class or file has a docstring: `lvm-bench list methods` prints the first line."""
    entries = registry.index(Path(registry.source_file(case.cls)))
    described = {entry.name: entry.description for entry in entries if entry.kind == "method"}
    require(bool(described.get(case.job.method_base)), "neither the class nor the file has a docstring")


def hyper_parameters_are_keyword_only(case: Case) -> None:
    """The hyper-parameters of `__init__` stand behind a `*`: only those are settings, recorded with a run."""
    parameters = inspect.signature(case.cls).parameters.values()
    hidden = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD and p.default is not p.empty]
    require(
        not hidden,
        f"__init__ takes {', '.join(hidden)} by position; put a * before, as in __init__(self, *nets, pull=0.1)",
    )


def is_built(case: Case) -> None:
    """It can be built: `__init__` hands the networks on, and needs nothing but them and its hyper-parameters."""
    try:
        method = case.built()
    except (AttributeError, TypeError) as error:
        require(not _forgets_super(case, error), f"{case.place('__init__')}: {_SUPER}")
        raise
    require(isinstance(getattr(method, "encoder", None), Module), f"{case.place('__init__')}: {_SUPER}")
    case.fresh()


_SUPER = "__init__ does not call super().__init__(*nets) before it sets anything: make that its first line"


def _forgets_super(case: Case, error: Exception) -> bool:
    """Whether an error is torch's, of a module whose `__init__` was not called."""
    of_torch = ("Module.__init__()", "'_parameters'", "'_modules'", "'_buffers'")
    return case.cls.__init__ is not Method.__init__ and any(word in str(error) for word in of_torch)


def losses_are_finite_scalars(case: Case) -> None:
    """`losses` returns named finite scalars, `loss` and what `monitor` names among them."""
    if not case.learns:
        return
    at = case.place("losses")
    require(case.cls.losses is not Method.losses, f"{at}: {case.cls.__name__} must define losses(x)")
    method = case.fresh()
    _are_scalars(f"{at}: losses(x)", method.losses(case.batch()), ("loss", case.cls.monitor))
    for stage in case.cls.stages[1:]:
        function = f"{stage}_losses"
        _are_scalars(f"{case.place(function)}: {function}(x)", getattr(method, function)(case.batch()), ("loss",))


def _are_scalars(what: str, losses: Any, needed: tuple[str, ...]) -> None:
    """Broken unless these are named finite scalars with the needed names."""
    wrong = misgiven(losses, needed)
    require(not wrong, f"{what}{wrong}")
    for name, value in losses.items():
        require(bool(torch.isfinite(value)), f"{what}[{name!r}] is {float(value.detach())} on the first batch")


def follows_its_device(case: Case) -> None:
    """Every tensor follows the device of the method: it would run on a GPU as it does here."""
    method, x = case.built(), case.batch()
    epoch = Epoch(0, case.images(), case.spec.value_range, generator(0, "check"))
    with Watch(method, case.file) as watch:
        with torch.no_grad():
            method.start_epoch(epoch)
            method.start_step(0)
        losses = [method.losses(x)] if case.learns else []
        if method.adversary is not None:
            losses.append(method.losses_of_adversary(x))
        with torch.no_grad():
            method.eval()
            method.decode(method.encode(x))
            if not method.cannot_sample:
                method.decode(method.prior(7))
    require(not watch.faults, "; ".join(f"{line}: {text}" for line, text in watch.faults.items()))


def loss_reaches_encoder_and_decoder(case: Case) -> None:
    """The gradient of `loss` reaches the encoder, all of its outputs, and the decoder; it is finite."""
    if not case.learns:
        return
    method, at = case.fresh(), case.place("losses")
    outputs: list[Tensor] = []

    def keep(_: Module, __: Any, output: Tensor) -> None:
        output.retain_grad()
        outputs.append(output)

    method.encoder.register_forward_hook(keep)
    method.losses(case.batch())["loss"].backward()
    for part in ("encoder", "decoder"):
        gradients = [p.grad for p in getattr(method, part).parameters() if p.grad is not None]
        finite = all(bool(grad.isfinite().all()) for grad in gradients)
        require(finite, f"{at}: the gradient of losses(x)['loss'] at self.{part} is not finite on the first batch")
        reached = any(bool((grad != 0).any()) for grad in gradients)
        require(reached, f"{at}: the gradient of losses(x)['loss'] does not reach self.{part}")
    if case.cls.heads == 2:
        gradients = [output.grad for output in outputs if output.grad is not None]
        for half, (name, what) in enumerate((("means", "first"), ("log-variances", "second"))):
            reached = any(bool((grad.chunk(2, dim=1)[half] != 0).any()) for grad in gradients)
            require(
                reached,
                f"{at}: heads = 2, but the gradient of losses(x)['loss'] does not reach the {what} half of the "
                f"encoder's outputs (of a Gaussian posterior the {name}), so that nothing trains them: use them in "
                "losses(x), or set heads = 1",
            )


def encodes_the_mean(case: Case) -> None:
    """encode gives the mean of `posterior`, where there is one, with which the scores compare."""
    method, x = case.fresh().eval(), case.batch()
    at = case.place("encode" if "encode" in vars(case.cls) else "posterior")
    with torch.no_grad():
        try:
            posterior = posterior_of(method, x)
        except RunError as error:
            raise Broken(f"{at}: {error}") from error
        if posterior is None:
            return
        z, mean = method.encode(x), posterior.mean
    require(
        torch.allclose(z, mean, rtol=1e-4, atol=1e-5),
        f"{at}: encode(x) is not the mean of posterior(x): they differ by up to {float((z - mean).abs().max()):.3g}. "
        "Return posterior(x).mean, or override posterior to match",
    )


def shapes_and_ranges(case: Case) -> None:
    """encode gives [b l], prior gives [n l], decode gives images of the data's shape in its value range."""
    method, x, spec = case.fresh().eval(), case.batch(), case.spec
    with torch.no_grad():
        z, drawn = method.encode(x), method.prior(7)
    require(z.shape == (len(x), spec.latent), f"encode(x) has shape {tuple(z.shape)}, not {(len(x), spec.latent)}")
    require(drawn.shape == (7, spec.latent), f"prior(7) has shape {tuple(drawn.shape)}, not {(7, spec.latent)}")
    with torch.no_grad():
        image = method.decode(drawn)
    require(image.shape == (7, *spec.shape), f"decode(z) has shape {tuple(image.shape)}, not {(7, *spec.shape)}")
    low, high = spec.value_range
    require(
        bool((image >= low).all() and (image <= high).all()),
        f"decode(z) leaves the value range [{low}, {high}]: {float(image.min()):.3g} to {float(image.max()):.3g}",
    )
    told = method.target_variance
    require(told is None or float(told) > 0, f"target_variance is {told}, neither positive nor None")


def draws_its_own_pictures(case: Case) -> None:
    """`pictures`, which may show something of its own, gives grids of images, the same of a seed."""
    at, method = case.place("pictures"), case.fresh()
    try:
        first, second = (own_pictures(method, case.batch()[:16], 0) for _ in range(2))
    except RunError as error:
        raise kinds.Broken(f"{at}: {error}") from error
    same = first.keys() == second.keys() and all(np.array_equal(grid, second[name]) for name, grid in first.items())
    require(same, f"{at}: pictures(x) drew other images the second time: draw random numbers from self.noise or draw")


def target_is_that_of_the_prior(case: Case) -> None:
    """Before training, draws of prior() have the variance that target_variance tells, where it tells one."""
    method = case.fresh().eval()
    if method.target_variance is None:
        return
    with torch.no_grad():
        variance, told = float(method.prior(10_000).var(0).mean()), float(method.target_variance)
    require(
        abs(variance / told - 1) < 0.2,
        f"prior() has a variance of {variance:.3g} and target_variance is {told:.3g}: scores against the target would "
        "compare codes with another distribution, so override target_variance; None says that there is no such number",
    )


def draws_from_its_generator(case: Case) -> None:
    """Random numbers come from self.generator alone: neither torch's nor numpy's global state matters or moves."""
    method, seen = case.fresh(), []
    for seed in (1, 2):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            before, numpy_before = torch.get_rng_state(), _numpy_state()
            method.generator.manual_seed(0)
            with torch.no_grad():
                method.eval()
                seen.append((*([method.losses(case.batch())["loss"]] if case.learns else []), method.prior(5)))
            unmoved = {"torch": torch.equal(torch.get_rng_state(), before), "numpy": _numpy_state() == numpy_before}
            for library, is_so in unmoved.items():
                require(is_so, f"losses or prior drew from {library}'s global generator: {_DRAW}")
    same = all(torch.equal(a, b) for a, b in zip(*seen, strict=True))
    require(same, "the same self.generator state gave other losses or prior draws")


_DRAW = "draw with self.noise(*shape), or self.draw(lambda own: torch.rand(n, generator=own, device=own.device))"


def _numpy_state() -> bytes:
    state: Any = np.random.get_state(legacy=True)  # noqa: NPY002  (the global state is what is under watch)
    return state[1].tobytes() + bytes(str(state[2]), "ascii")


def evaluation_changes_nothing(case: Case) -> None:
    """In eval mode encode, decode and losses leave the weights and buffers as they are."""
    method = case.fresh().eval()
    before = {key: value.clone() for key, value in method.state_dict().items()}
    with torch.no_grad():
        if case.learns:
            method.losses(case.batch())
        method.decode(method.encode(case.batch()))
    changed = [key for key, value in method.state_dict().items() if not torch.equal(value, before[key])]
    require(not changed, f"evaluation changed {', '.join(changed)}")


def training_helps(case: Case) -> None:
    """Three epochs bring the reconstruction nearer to the images."""
    if not case.learns:
        return
    x = case.batch()
    before, after = case.fresh().eval(), case.whole.method.eval()
    with torch.no_grad():
        errors = [float(((x - m.decode(m.encode(x))) ** 2).mean()) for m in (before, after)]
    require(errors[1] < errors[0], f"the reconstruction error went from {errors[0]:.4g} to {errors[1]:.4g}")


def same_seed_same_bits(case: Case) -> None:
    """Trained twice from one seed, every weight and the history are the same bits."""
    first, second = case.whole, case.trained()
    require(first.history == second.history, "two trainings from one seed gave different histories")
    a, b = first.method.state_dict(), second.method.state_dict()
    differing = [key for key in a if not torch.equal(a[key], b[key])]
    require(not differing, f"two trainings from one seed differ in {', '.join(differing)}")


def goes_on_bit_for_bit(case: Case) -> None:
    """Stopped twice within epochs, each time gone on with by a new instance, training gives the same bits."""
    whole, calls = case.whole, itertools.count(1)
    with TemporaryDirectory() as folder:

        def gone_on(at: int) -> Trained:
            checkpoints = Checkpoints(Path(folder), case.job.name, math.inf, lambda text: None)
            return case.trained(checkpoints, lambda: next(calls) == at)

        within_the_last_stage = [whole.updates - 1] if len(case.cls.stages) > 1 else []
        # Steps in all; an epoch has 12, or 9 without the images that AVAE holds out.
        for at in (4, 16, *within_the_last_stage):
            with suppress(Stopped):
                gone_on(at)
        result = gone_on(0)
    require(
        result.history == whole.history,
        "a training that was stopped and gone on with has another history: keep whatever lasts longer than a step "
        "in buffers (persistent=False for what is no part of the model), or set it anew in start_epoch",
    )
    a, b = whole.method.state_dict(), result.method.state_dict()
    differing = [key for key in a if not torch.equal(a[key], b[key])]
    require(not differing, f"a training that was stopped and gone on with differs in {', '.join(differing)}")


def weights_are_the_whole_model(case: Case) -> None:
    """What state_dict() keeps is all that encoding and sampling need."""
    method, other = case.whole.method, case.fresh()
    other.load_state_dict(method.state_dict())
    with torch.no_grad():
        for made in (method, other):
            made.eval().generator.manual_seed(0)
        same_codes = torch.equal(method.encode(case.batch()), other.encode(case.batch()))
        same_prior = torch.equal(method.prior(5), other.prior(5))
    require(same_codes, "a copy with the same state_dict() encodes differently: keep what is learned in buffers")
    require(same_prior, "a copy with the same state_dict() samples differently: keep what is learned in buffers")


CHECKS: tuple[Callable[[Case], None], ...] = (
    has_a_description,
    hyper_parameters_are_keyword_only,
    is_built,
    losses_are_finite_scalars,
    shapes_and_ranges,
    follows_its_device,
    loss_reaches_encoder_and_decoder,
    encodes_the_mean,
    target_is_that_of_the_prior,
    prior_has_its_density,
    posterior_has_its_density,
    likelihood_is_of_each_image,
    draws_its_own_pictures,
    draws_from_its_generator,
    evaluation_changes_nothing,
    training_helps,
    same_seed_same_bits,
    goes_on_bit_for_bit,
    weights_are_the_whole_model,
)

_RUNS = (losses_are_finite_scalars, shapes_and_ranges)

# A check says nothing true where one of these has failed.
NEEDS: dict[Callable[[Case], None], tuple[Callable[[Case], None], ...]] = {
    losses_are_finite_scalars: (is_built,),
    follows_its_device: _RUNS,
    shapes_and_ranges: (is_built,),
    loss_reaches_encoder_and_decoder: _RUNS,
    encodes_the_mean: (shapes_and_ranges,),
    target_is_that_of_the_prior: (shapes_and_ranges,),
    prior_has_its_density: (shapes_and_ranges,),
    posterior_has_its_density: (encodes_the_mean,),
    likelihood_is_of_each_image: (shapes_and_ranges,),
    draws_its_own_pictures: (shapes_and_ranges,),
    draws_from_its_generator: _RUNS,
    evaluation_changes_nothing: _RUNS,
    training_helps: (loss_reaches_encoder_and_decoder,),
    same_seed_same_bits: (loss_reaches_encoder_and_decoder, draws_from_its_generator),
    goes_on_bit_for_bit: (same_seed_same_bits,),
    weights_are_the_whole_model: (same_seed_same_bits,),
}


def verdict(check: Callable[[Case], None], case: Case) -> str | None:
    """None when the check passes, else why not, with file and line when the method's own code raised."""
    return kinds.problem(lambda: check(case), case.file)


def check_files(
    files: tuple[Path, ...], say: Callable[[str], None], data: str = DIGITS, settings: tuple[str, ...] = ()
) -> int:
    """Check every extension of these files; the exit code: 0 when all keep their contracts, else 1.

    Methods are checked on images like those of `data`, with these `settings`, see `check_case.cases`. UserError for a
    file that registers nothing, or that cannot be loaded, and where `data` or `settings` are given for no method.
    """
    packaged = {entry.file.resolve() for own in extensions(PACKAGED).values() for entry in own.values()}
    found = {file: of_plugin(file) for file in files}
    plugins = tuple(file for file in files if file.resolve() not in packaged)
    extensions(PACKAGED, plugins)  # refuses names that are taken
    methods = {file: tuple(entry.name for entry in own if entry.kind == "method") for file, own in found.items()}
    if (settings or data != DIGITS) and not any(methods.values()):
        raise UserError("--set, --network and --data: they are for methods, and none of these files has one.")
    failures = 0
    for file, entries in found.items():
        if methods[file]:
            failures += sum(_check_method(each, say) for each in cases(methods[file], plugins, data, settings))
        failures += sum(kinds.check(entry, say) for entry in entries if entry.kind != "method")
    say(f"{counted(failures, 'check')} failed." if failures else "The contract holds.")
    return 1 if failures else 0


def _check_method(made: Case, say: Callable[[str], None]) -> int:
    """The number of checks that a method fails."""
    name = made.job.method
    reason = made.cls.declines(made.spec)
    if reason:
        say(f"{name}: declines images like those of {made.job.dataset!r} ({reason}), so it cannot be checked on them.")
        return 0
    return kinds.tell(name, CHECKS, lambda each: verdict(each, made), say, NEEDS)
