"""The training loop: batches, the schedule, weights, seeds, checkpoints, and the error about NaN."""

import copy
import hashlib
import itertools
import math
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from made import training_settings
from threadpoolctl import threadpool_info
from torch import Tensor, nn
from torch.nn.functional import softplus

from lvm_bench.errors import RunError, Stopped
from lvm_bench.metrics import gaussian_kl
from lvm_bench.modelling.contract import Epoch, Method, Spec
from lvm_bench.modelling.posteriors import Gaussian
from lvm_bench.seeding import generator
from lvm_bench.training.aggregate import of_codes
from lvm_bench.training.batches import aggregate, minibatches
from lvm_bench.training.build import build
from lvm_bench.training.checkpoint import NAMES, Checkpoints
from lvm_bench.training.loop import step, train
from lvm_bench.training.numerics import fixed_numerics, precision
from lvm_bench.training.state import Training

SPEC = Spec((1, 2, 2), (0, 1), 2, 25, 10, "sse")


class Linear(Method):
    """A linear auto-encoder that remembers what it was shown."""

    def __init__(self, spec: Spec = SPEC, hold: int = 0, validation: tuple[float, ...] = ()):
        super().__init__(
            nn.Sequential(nn.Flatten(), nn.Linear(4, 2)),
            nn.Sequential(nn.Linear(2, 4), nn.Unflatten(1, (1, 2, 2))),
            spec,
        )
        with torch.no_grad():
            for i, p in enumerate(self.parameters()):
                p.copy_(torch.linspace(-1, 1, p.numel()).reshape(p.shape) / (i + 1))
        self.hold, self.sizes, self.shown = hold, [], []
        self.scripted, self.told = list(validation), []

    def start_epoch(self, epoch: Epoch) -> None:
        assert not torch.is_grad_enabled()
        if self.hold:
            self.held = epoch.draw(self.hold)
            epoch.hold_out(self.held)

    def losses(self, x: Tensor) -> dict[str, Tensor]:
        if self.training:
            self.sizes.append(len(x))
            self.shown.append((x[:, 0, 0, 0] * 255).round().long())
        loss = (x - self.decode(self.encode(x))).square().mean()
        if not self.training and self.scripted:
            loss = 0 * loss + self.scripted[len(self.told)]
        return {"loss": loss, "recon": loss}

    def validated(self, means: dict[str, float]) -> None:
        self.told.append(means["loss"])


def images(n: int) -> Tensor:
    pixels = torch.zeros(n, 1, 2, 2, dtype=torch.uint8)
    pixels[:, 0, 0, 0] = torch.arange(n)
    return pixels


def run(method: Method, n: int = 25, **settings: Any) -> Any:
    method.generator = generator(0, "noise")
    return train(method, images(n), images(8), training_settings(**settings), 0)


def test_every_image_is_seen_once_an_epoch_and_the_partial_batch_is_kept() -> None:
    method = Linear()
    run(method)
    assert method.sizes == [10, 10, 5] * 3
    orders = torch.cat(method.shown).split(25)
    assert all(sorted(order.tolist()) == list(range(25)) for order in orders)
    assert orders[0].tolist() != orders[1].tolist()


def test_a_last_batch_of_one_image_is_dropped() -> None:
    assert [len(b) for b in minibatches(21, torch.empty(0, dtype=torch.int64), 10, generator(0))] == [10, 10]


def test_images_held_out_are_in_no_minibatch() -> None:
    method = Linear(hold=5)
    run(method, epochs=1)
    seen = set(torch.cat(method.shown).tolist())
    assert seen == set(range(25)) - set(method.held.tolist())


def test_the_first_validation_comes_before_training_and_one_after_each_epoch() -> None:
    method = Linear()
    result = run(method)
    assert len(method.told) == 4
    assert [row["epoch"] for row in result.history] == [1, 2, 3]
    assert [row["val/loss"] for row in result.history] == method.told[1:]


class Noisy(Linear):
    """Its codes are the sums of pixels and noise; a Gaussian encoder of variances 1 and 4."""

    heads = 2

    def posterior(self, x: Tensor) -> Gaussian:
        mu = 255 * x.flatten(1)[:, :2] + self.noise(len(x), 2) * 0
        return Gaussian(mu, torch.tensor([1.0, 4.0]).log().expand(len(x), 2))


def test_the_aggregate_variance_is_that_of_the_means_and_the_mean_of_the_posteriors() -> None:
    method = Noisy()
    method.generator = generator(0, "noise")
    before = method.generator.get_state()
    codes, variance = aggregate(method, images(8), size=3)
    assert codes[:, 0].tolist() == pytest.approx(range(8), abs=1e-4)
    assert variance.tolist() == pytest.approx([float(torch.arange(8.0).var(correction=0)) + 1, 4])
    assert torch.equal(method.generator.get_state(), before)
    assert aggregate(method, images(1))[1].tolist() == pytest.approx([1, 4])


def test_a_history_tells_the_parts_of_the_kl_of_the_validation_codes_and_now_and_then_their_entropy() -> None:
    method = Linear()
    result = run(method, entropy_every=2)
    codes, _ = aggregate(method, images(8))
    last = result.history[-1]
    parts = [last[f"codes/kl_{part}"] for part in ("scale", "mean", "anisotropy") if f"codes/kl_{part}" in last]
    assert sum(parts) == pytest.approx(gaussian_kl(codes), rel=1e-9) or gaussian_kl(codes) == math.inf
    assert [row["updates"] for row in result.history] == [3, 6, 9]
    assert ["codes/entropy" in row for row in result.history] == [False, True, False]
    assert "codes/balance" not in last, "of a method that matches a kernel density estimate"
    assert not any("codes/entropy" in row for row in run(Linear()).history)


def test_codes_that_have_diverged_and_too_few_codes_tell_nothing() -> None:
    codes = torch.randn(9, 2, generator=generator(0, "codes"), dtype=torch.float64)
    told = of_codes(Linear(), codes, True)
    assert {*told} == {"dimension", "kl_scale", "kl_mean", "kl_anisotropy", "entropy"}
    for broken in (codes[:2], codes * 1e31, codes * math.nan):
        assert of_codes(Linear(), broken, True) == {}
    flat = of_codes(Linear(), codes * torch.tensor([1.0, 0.0]), True)
    assert "kl_scale" in flat
    assert "kl_anisotropy" not in flat, "only what is finite is logged"
    assert "entropy" not in of_codes(Linear(), codes[:3], True)


class Watching(Linear):
    """Notes of each loss in what its first layer computed, and in what the encoder gave."""

    def losses(self, x: Tensor) -> dict[str, Tensor]:
        seen: list[Any] = []
        layer = self.encoder[1].register_forward_hook(lambda _, __, output: seen.append(output.dtype))
        seen.append(self.encode(x).dtype)
        layer.remove()
        self.seen = (*seen, torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32)
        return super().losses(x)


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("float32", (torch.float32, torch.float32, False, False)),
        ("tf32", (torch.float32, torch.float32, True, True)),
        ("bf16", (torch.bfloat16, torch.float32, False, False)),
    ],
)
def test_the_precision_is_that_of_the_networks_in_training_alone(name: str, seen: tuple[Any, ...]) -> None:
    method = Watching()
    with fixed_numerics(1):
        result, again = run(method, precision=name), run(Watching(), precision=name)
        assert method.seen == seen
        method.losses(images(8).float() / 255)
        assert method.seen == (torch.float32, torch.float32, False, False)
        exact = run(Watching())
    assert result.history == again.history
    assert (result.history == exact.history) == (name != "bf16")
    assert result.history[-1]["val/loss"] == pytest.approx(exact.history[-1]["val/loss"], rel=0.05)
    assert all(p.dtype == torch.float32 for p in method.parameters())


@pytest.mark.parametrize(
    ("width", "name", "contiguous"), [(0.5, "float32", False), (1.0, "float32", True), (1.0, "bf16", False)]
)
def test_weights_and_batches_lie_in_memory_as_the_processor_likes_them(
    width: float, name: Literal["float32", "bf16"], contiguous: bool
) -> None:
    class Looking(Method):
        def losses(self, x: Tensor) -> dict[str, Tensor]:
            self.contiguous = x.is_contiguous()
            return {"loss": self.decode(self.encode(x)).square().mean()}

    spec = Spec((3, 32, 32), (0, 1), 4, 100, 10, "sse")
    method = build(Looking, {}, spec, "mnist", width, 0, precision=name)
    inside = {id(layer.weight) for layer in method.modules() if getattr(layer, "in_products", False)}
    weights = [p for p in method.parameters() if p.ndim == 4 and min(p.shape[:2]) > 1 and id(p) not in inside]
    assert all(p.is_contiguous() == contiguous for p in weights)
    assert all(p.is_contiguous(memory_format=torch.channels_last) != contiguous for p in weights)
    pixels = torch.zeros(4, 3, 32, 32, dtype=torch.uint8)
    step(Training(method, training_settings(precision=name), pixels, 0), torch.arange(4))
    assert method.contiguous == contiguous


def test_a_network_that_raises_leaves_no_precision_behind() -> None:
    with fixed_numerics(1):
        method = Linear()
        with precision(method, "bf16"), pytest.raises(RuntimeError):
            method.encoder(torch.zeros(2, 5))
        assert not torch.is_autocast_enabled("cpu")


def test_each_epoch_notes_the_variance_of_each_axis_and_the_target() -> None:
    method = Linear()
    result = run(method)
    columns = [name for name in result.history[0] if name.startswith(("aggregate_variance/", "target_variance"))]
    assert columns == ["aggregate_variance/0", "aggregate_variance/1", "target_variance"]
    codes = method.encode(images(8).float() / 255).double()
    found = [result.history[-1][name] for name in columns]
    assert found == pytest.approx([*codes.var(0, correction=0).tolist(), 1.0])


def test_the_rate_is_halved_after_patience_epochs_without_improvement_of_the_threshold() -> None:
    # epoch 2 improves by less than the absolute threshold of 1e-4, epoch 5 by more
    values = (9.0, 1.0, 0.99995, 0.99993, 0.9, 0.9, 0.9, 0.9)
    result = run(Linear(validation=values), epochs=7)
    rates = [row["learning_rate"] / 1e-2 for row in result.history]
    assert rates == [1, 1, 1, 0.5, 0.5, 0.5, 0.25]


def test_the_best_weights_are_those_of_the_lowest_monitored_loss() -> None:
    method = Linear(validation=(9.0, 3.0, 1.0, 2.0))
    result = run(method)
    reference = Linear(validation=(9.0, 3.0, 1.0, 2.0))
    run(reference, epochs=2)
    for key, value in reference.state_dict().items():
        assert torch.equal(result.best[key], value)
        assert not torch.equal(result.method.state_dict()[key], value)


def test_nan_stops_the_run_and_names_the_term_that_broke_first() -> None:
    class Breaks(Linear):
        def losses(self, x: Tensor) -> dict[str, Tensor]:
            losses = super().losses(x)
            kl = losses["loss"] * (float("nan") if len(self.sizes) == 2 else 1.0)
            return {"loss": losses["loss"] + kl, "recon": losses["recon"], "kl": kl}

    with pytest.raises(RunError, match=r"The term 'kl' became NaN or infinite in epoch 1 \(training\)"):
        run(Breaks())


def test_losses_that_are_no_dict_are_told_in_a_sentence() -> None:
    class Bare(Linear):
        def losses(self, x: Tensor) -> Tensor:  # type: ignore[override]
            return super().losses(x)["loss"]

    with pytest.raises(RunError, match=r"^Bare: losses\(x\) returned Tensor, not a dict: return {\"loss\": "):
        run(Bare())


def test_an_adversary_is_trained_by_its_own_optimiser_on_its_own_loss() -> None:
    class Adversarial(Linear):
        def __init__(self) -> None:
            super().__init__()
            self.adversary = nn.Linear(2, 1)

        def adversary_losses(self, x: Tensor) -> dict[str, Tensor]:
            return {"adversary_loss": self.adversary(self.encode(x).detach()).square().mean()}

    method = Adversarial()
    before = copy.deepcopy(method.adversary.state_dict())
    result = run(method)
    assert not torch.equal(before["weight"], method.adversary.weight)
    plain = run(Linear()).method
    for a, b in zip(method.encoder.parameters(), plain.encoder.parameters(), strict=True):
        assert torch.equal(a, b)
    assert "train/adversary_loss" in result.history[0]


def test_an_epoch_refuses_to_hold_out_everything() -> None:
    epoch = Epoch(0, images(5), (0, 1), generator(0))
    with pytest.raises(ValueError, match="cannot hold 5 of 5"):
        epoch.draw(5)
    assert len(set(epoch.draw(4).tolist())) == 4
    assert [x.shape[0] for x in epoch.batches(torch.arange(5), size=2)] == [2, 2, 1]
    assert float(next(epoch.batches(torch.tensor([4]))).max()) == pytest.approx(4 / 255)


class Adversarial(Linear):
    """Its adversary's one weight is pushed with a constant force."""

    def __init__(self, **optimiser: Any):
        super().__init__()
        self.adversary = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(self.adversary.weight)
        vars(self).update(optimiser)

    def adversary_losses(self, x: Tensor) -> dict[str, Tensor]:
        return {"adversary_loss": -self.adversary.weight.sum()}


def test_the_adversary_has_the_models_learning_rate_or_its_own() -> None:
    """Under a constant force Adam moves at the speed of its learning rate."""
    walked = []
    for optimiser in ({}, {"adversary_learning_rate": 1e-3}):
        method = Adversarial(**optimiser)
        run(method, epochs=1)
        walked.append(method.adversary.weight.item())
    assert walked == pytest.approx([3 * 1e-2, 3 * 1e-3], rel=1e-3)


def test_the_adversarys_adam_has_betas_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    adam = torch.optim.Adam
    monkeypatch.setattr(torch.optim, "Adam", lambda *args, **kwargs: made.append(adam(*args, **kwargs)) or made[-1])
    run(Adversarial(adversary_betas=(0.5, 0.9)), epochs=1)
    assert [optimiser.param_groups[0]["betas"] for optimiser in made] == [(0.9, 0.999), (0.5, 0.9)]


class Judged(Linear):
    """Its adversary tells images from reconstructions, which `losses` hands over; noise for both."""

    adversary_betas = (0.5, 0.9)

    def __init__(self) -> None:
        super().__init__()
        self.adversary = nn.Linear(4, 1)
        nn.init.constant_(self.adversary.weight, 0.1)
        nn.init.zeros_(self.adversary.bias)
        self.hand, self.given = True, []

    def losses(self, x: Tensor) -> dict[str, Tensor]:
        recon = self.decode(self.encode(x) + 0.1 * self.noise(len(x), 2))
        if self.hand:
            self.hand_over(recon=recon, x=x)
        fooled = softplus(-self.adversary(recon.flatten(1))).mean()
        self.raw = recon.detach()
        return {"loss": (x - recon).square().mean() + 0.1 * fooled}

    def adversary_losses(self, x: Tensor, made: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
        self.given.append((self.raw, x, made))
        judged = self.adversary((made or {"recon": self.raw})["recon"].flatten(1) + 0.1 * self.noise(len(x), 4))
        return {"adversary_loss": (softplus(-self.adversary(x.flatten(1))) + softplus(judged)).mean()}


def test_what_losses_hand_over_reaches_the_adversary_of_the_same_batch_detached() -> None:
    method = Judged()
    run(method)
    assert len(method.given) == 9
    for recon, x, made in method.given:
        assert made.keys() == {"recon", "x"}
        assert torch.equal(made["recon"], recon)
        assert torch.equal(made["x"], x)
        assert not made["recon"].requires_grad
    method.hand = False
    method.losses_of_adversary(images(8).float())  # of the last validation
    method.losses(images(8).float())
    method.losses_of_adversary(images(8).float())
    assert [made is None for _, _, made in method.given[-2:]] == [False, True]


@pytest.mark.parametrize("stops", [[1], [2, 2, 1], [3, 4]], ids=str)
def test_an_adversary_on_what_was_handed_over_and_flips_go_on_to_the_same_bits(
    stops: list[int], tmp_path: Path
) -> None:
    settings = {"flips": True, "betas": (0.5, 0.999)}
    whole = run(Judged(), **settings)
    for steps in stops:
        counted = itertools.count(1)
        with pytest.raises(Stopped):
            run_kept(Judged(), tmp_path, [], lambda: next(counted) == steps, **settings)  # noqa: B023
    result = run_kept(Judged(), tmp_path, [], **settings)
    assert result.history == whole.history
    for key, value in whole.method.state_dict().items():
        assert torch.equal(result.method.state_dict()[key], value)
    others = (run(Judged(), **{name: settings[name]}) for name in settings)
    assert not any(other.history == whole.history for other in others)


def test_flips_mirror_another_random_half_of_the_training_images_in_each_epoch() -> None:
    class Looking(Linear):
        def losses(self, x: Tensor) -> dict[str, Tensor]:
            if self.training:
                sides = (x[:, 0, 0] * 255).round().long()  # one of the two is 0
                self.shown.append(torch.stack([sides.sum(1), sides.argmax(1)], dim=1))
            return super().losses(x)

    def of_epochs(n: int, **settings: Any) -> Any:
        method = Looking()
        run(method, n, batch_size=50, **settings)
        rows = [row for row in method.shown if row.ndim == 2]
        epochs = torch.cat(rows).split(n)
        return [epoch[epoch[:, 0].argsort()] for epoch in epochs]

    plain, flipped, again = of_epochs(200), of_epochs(200, flips=True), of_epochs(200, flips=True)
    assert all(torch.equal(epoch[:, 0], torch.arange(200)) for epoch in (*plain, *flipped))
    assert not any(epoch[:, 1].any() for epoch in plain)
    shares = [float(epoch[:, 1].float().mean()) for epoch in flipped]
    assert all(0.4 < share < 0.6 for share in shares)
    assert all(torch.equal(a, b) for a, b in zip(flipped, again, strict=True))
    assert not torch.equal(flipped[0], flipped[1])


def test_the_models_adam_has_the_betas_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    adam = torch.optim.Adam
    monkeypatch.setattr(torch.optim, "Adam", lambda *args, **kwargs: made.append(adam(*args, **kwargs)) or made[-1])
    run(Judged(), epochs=1, betas=(0.5, 0.999))
    assert [optimiser.param_groups[0]["betas"] for optimiser in made] == [(0.5, 0.999), (0.5, 0.9)]


class Remembering(Adversarial):
    """Has everything that a training carries: a buffer outside the weights file, noise, an epoch, held-out images."""

    adversary_betas = (0.5, 0.9)

    def __init__(self) -> None:
        super().__init__()
        self.hold = 5
        self.register_buffer("seen", torch.zeros(()), persistent=False)
        self.register_buffer("kept", torch.zeros(0), persistent=False)

    def start_epoch(self, epoch: Epoch) -> None:
        super().start_epoch(epoch)
        self.epoch = epoch
        for x in epoch.batches(epoch.draw(4)):
            self.encode(x)  # counted once an epoch, even if the epoch begins again

    def start_step(self, step: int) -> None:
        self.kept = torch.cat([self.kept, self.noise(1)])

    def losses(self, x: Tensor) -> dict[str, Tensor]:
        loss = super().losses(x)["loss"] * (1 + 0.1 * self.noise(1)[0].abs()) + self.kept.sum() * 1e-3
        if self.training:
            self.seen += self.epoch.draw(2).sum()
        return {"loss": loss + self.seen * 1e-4}


@pytest.mark.parametrize("streams", ["single", "paired"])
@pytest.mark.parametrize("stops", [[1], [2], [3], [1, 1, 1, 1, 1], [2, 2, 1], [5], [4, 1]], ids=str)
def test_a_training_that_was_stopped_goes_on_to_the_same_bits(stops: list[int], streams: str, tmp_path: Path) -> None:
    whole, said = run(Remembering(), streams=streams), []
    for steps in stops:
        counted = itertools.count(1)
        with pytest.raises(Stopped):
            run_kept(Remembering(), tmp_path, said, lambda: next(counted) == steps, streams=streams)  # noqa: B023
    result = run_kept(Remembering(), tmp_path, said, streams=streams)
    assert result.history == whole.history
    assert (result.updates, result.encoded) == (whole.updates, whole.encoded)
    for key, value in whole.method.state_dict().items():
        assert torch.equal(result.method.state_dict()[key], value)
        assert torch.equal(result.best[key], whole.best[key])
    assert torch.equal(result.method.kept, whole.method.kept)
    assert not said


def run_kept(method: Method, folder: Path, said: list[str], stop: Any = lambda: False, **changes: Any) -> Any:
    method.generator = generator(0, "noise")
    checkpoints = Checkpoints(folder, changes.pop("identity", "it"), changes.pop("seconds", math.inf), said.append)
    return train(method, images(25), images(8), training_settings(**changes), 0, checkpoints=checkpoints, stop=stop)


def test_schedule_and_best_weights_go_on_too(tmp_path: Path) -> None:
    values = (9.0, 1.0, 0.99995, 0.99993, 0.9, 0.9, 0.9, 0.9)
    whole = run(Linear(validation=values), epochs=7)
    counted = itertools.count(1)
    first = Linear(validation=values)
    with pytest.raises(Stopped):
        run_kept(first, tmp_path, [], lambda: next(counted) == 3 * 4 + 1, epochs=7)
    second = Linear(validation=values)
    second.told = list(first.told)  # the script of this test is no state of a method
    result = run_kept(second, tmp_path, [], epochs=7)
    assert result.history == whole.history
    assert [row["learning_rate"] / 1e-2 for row in result.history] == [1, 1, 1, 0.5, 0.5, 0.5, 0.25]
    for key, value in whole.best.items():
        assert torch.equal(result.best[key], value)


@pytest.mark.parametrize(
    ("n", "seconds", "epochs", "expected"),
    [
        (25, 4, 5, [(2, 0), (4, 0)]),
        (250, 10, 2, [(0, 10), (0, 20), (1, 10), (1, 20)]),
        (25, 3, 3, [(1, 0), (2, 0)]),
        (25, math.inf, 3, []),
    ],
)
def test_checkpoints_are_taken_at_ends_of_epochs_and_within_long_ones(
    n: int,
    seconds: float,
    epochs: int,
    expected: list[tuple[int, int]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A clock moves one second a step. Each checkpoint is (epochs done, steps of the next)."""
    now, taken = [0.0], []

    class Slow(Linear):
        def start_step(self, step: int) -> None:
            now[0] += 1

    def take(self: Checkpoints, state: Any) -> None:
        taken.append((len(state[1]["history"]), state[1]["step"]))
        self._last = now[0]

    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr(Checkpoints, "save", take)
    method = Slow()
    method.generator = generator(0, "noise")
    checkpoints = Checkpoints(tmp_path, "it", seconds, print)
    train(method, images(n), images(8), training_settings(epochs=epochs), 0, checkpoints=checkpoints)
    assert taken == expected


def test_a_damaged_checkpoint_falls_back_to_the_one_before_with_a_notice(tmp_path: Path) -> None:
    whole, said, counted = run(Remembering()), [], itertools.count(1)
    with pytest.raises(Stopped):
        run_kept(Remembering(), tmp_path, said, lambda: next(counted) == 5, seconds=0)
    newest, before = (tmp_path / name for name in NAMES)
    assert before.is_file()
    newest.write_bytes(newest.read_bytes()[:-100])
    result = run_kept(Remembering(), tmp_path, said)
    assert [text for text in said if "resume.safetensors: damaged" in text]
    assert result.history == whole.history
    for key, value in whole.method.state_dict().items():
        assert torch.equal(result.method.state_dict()[key], value)


@pytest.mark.parametrize("content", [b"", b"PK", b"\x80\x04pickle", b"\xff" * 200])
def test_without_a_whole_checkpoint_the_training_starts_anew_and_says_so(content: bytes, tmp_path: Path) -> None:
    said: list[str] = []
    for name in NAMES:
        (tmp_path / name).write_bytes(content + hashlib.sha256(content).digest() * (content[:1] != b"P"))
    assert run_kept(Remembering(), tmp_path, said).history == run(Remembering()).history
    assert said[-1] == "There is no other checkpoint: the training starts anew."
    assert len(said) == 3


def test_a_checkpoint_of_another_training_is_not_gone_on_with(tmp_path: Path) -> None:
    counted, said = itertools.count(1), []
    with pytest.raises(Stopped):
        run_kept(Remembering(), tmp_path, said, lambda: next(counted) == 5)
    result = run_kept(Remembering(), tmp_path, said, identity="another")
    assert result.history == run(Remembering()).history
    assert "of another training" in said[0]


def test_every_library_has_the_threads_of_the_settings_and_its_own_again_afterwards() -> None:
    def threads() -> list[int]:
        return [library["num_threads"] for library in threadpool_info()]

    before = threads()
    with fixed_numerics(3):
        assert len(before) >= 2
        assert {*threads(), torch.get_num_threads()} == {3}
    assert {*threads()} == {*before}


def test_what_a_training_cost_is_counted_without_the_validation() -> None:
    made = run(Linear(hold=5), n=25, epochs=3)
    assert made.updates == 3 * 2  # two batches of the 20 images that are not held out
    assert made.encoded == 3 * 20


def test_what_a_training_cost_is_counted_over_a_stop(tmp_path: Path) -> None:
    steps = iter([False, False, True])
    with pytest.raises(Stopped):
        run_kept(Linear(), tmp_path, [], lambda: next(steps))
    made = run_kept(Linear(), tmp_path, [])
    whole = run(Linear())
    assert (made.updates, made.encoded) == (whole.updates, whole.encoded) == (9, 75)
