"""Every registered method keeps the contract: the checks of `lvm-bench check` over the whole registry."""

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from lvm_bench.errors import UserError
from lvm_bench.execution import check_kinds
from lvm_bench.execution.check import (
    CHECKS,
    check_files,
    draws_its_own_pictures,
    encodes_the_mean,
    follows_its_device,
    verdict,
)
from lvm_bench.execution.check_case import PACKAGED, Case, case
from lvm_bench.registry import METHODS, REGISTRIES, Entry
from lvm_bench.suites.discover import extensions

FOUND = extensions(PACKAGED)
NAMES = sorted({*FOUND["method"]} - {"gamix-vae"})  # it declines 8 x 8 pixels, see its own tests
OTHERS = [
    *(FOUND["network"][name] for name in ("digits", "table-ix")),
    FOUND["dataset"]["digits"],
    FOUND["dataset"]["npz"],
    *FOUND["metric"].values(),
    FOUND["extractor"]["classifier"],
]


pytestmark = pytest.mark.usefixtures("short_checks", "short_metrics")


@cache
def made(name: str) -> Case:
    return case(name)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", NAMES)
def test_contract(name: str, check: Callable[[Case], None]) -> None:
    assert verdict(check, made(name)) is None


@pytest.mark.parametrize("entry", OTHERS, ids=lambda entry: entry.name)
def test_others_keep_their_contracts(entry: Entry) -> None:
    said: list[str] = []
    assert check_kinds.check(entry, said.append) == 0, said
    assert ("cannot be checked here" in said[-1]) == (entry.name in ("npz", "lpips", "ms_ssim"))


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ('@network("odd")\ndef odd(shape, latent, heads, width):\n    """Odd."""\n'
         "    c, h, w = shape\n    from torch import nn\n"
         "    return nn.Sequential(nn.Flatten(), nn.Linear(c * h * w, latent)), nn.Linear(latent, h)\n",
         "the decoder gives (3, 8), not [b c h w] = (3, 1, 8, 8)"),
        ('@dataset("odd")\ndef odd(root):\n    """Odd."""\n'
         "    from lvm_bench.data.images import Images, Splits\n    import numpy as np\n"
         "    part = Images(np.random.default_rng().integers(9, size=(30, 1, 8, 8), dtype=np.uint8))\n"
         "    return Splits(part, part)\n", "two loads differ"),
        ('@metric("odd", better="lower", of=("mean",))\ndef odd(codes):\n    """Odd."""\n    return "much"\n',
         "it returns str, not a number"),
        ('@metric("odd", better="lower", of=("mean",))\ndef odd(codes):\n    """Odd."""\n    return 1 / 0\n',
         "odd.py, line 5: ZeroDivisionError"),
        ('@dataset("odd")\ndef odd(root):\n    """Odd."""\n    raise OSError("no disk")\n',
         "odd.py, line 5: OSError: no disk"),
        ('@extractor("odd")\ndef odd(request):\n    """Odd."""\n'
         "    from lvm_bench.evaluation.features import Extractor\n"
         '    return Extractor("odd", "", "", lambda x: x.flatten(1) / 0.0, "cpu")\n', "its features are not finite"),
    ],
)  # fmt: skip
def test_what_others_break_is_named(code: str, told: str, tmp_path: Path) -> None:
    file = tmp_path / "odd.py"
    file.write_text(f"from lvm_bench import dataset, extractor, metric, network\n{code}")
    said: list[str] = []
    try:
        assert check_files((file,), said.append) == 1
    finally:
        for names in REGISTRIES.values():
            names._entries.pop("odd", None)
    assert sum("FAILED" in line and told in line for line in said) == 1, said


MINE = '''"""Mine."""
import numpy as np
import torch
from lvm_bench import Method, method
from lvm_bench.losses import gaussian_kl_to_standard, sse

HALF = torch.full((8,), 0.5)


@method("mine")
class Mine(Method):
    heads = 2

    def __init__(self, *nets, pull: float = 0.01):
        super().__init__(*nets)
        self.pull = pull

    def losses(self, x):
        mu, log_var = self.posterior(x)
        z = self.sampled(mu, log_var)
        recon = sse(x, self.decode(z)).mean()
        kl = gaussian_kl_to_standard(mu, log_var).sum(1).mean()
        return {"loss": recon + kl, "recon": recon}
'''
SUPER, DRAWN = "        super().__init__(*nets)\n", "z = self.sampled(mu, log_var)"
KL = "gaussian_kl_to_standard(mu, log_var).sum(1).mean()"
STAYS, OF_NUMPY = "a tensor that stays on the CPU", "a tensor of a GPU is no NumPy array"


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """The file of a method in which a text is replaced."""
    monkeypatch.setattr(METHODS, "_entries", dict(METHODS._entries))

    def write(before: str, after: str) -> Path:
        assert before in MINE
        file = tmp_path / "mine.py"
        file.write_text(MINE.replace(before, after))
        return file

    return write


@pytest.mark.parametrize(
    ("line", "now", "told"),
    [
        (20, f"{DRAWN} @ torch.eye(8)", STAYS),
        (20, f"{DRAWN} * torch.ones(8)", STAYS),
        (20, f"{DRAWN} + torch.tensor([0.0] * 8)", STAYS),
        (20, f"{DRAWN} + torch.from_numpy(np.zeros(8, np.float32))", STAYS),
        (20, f"{DRAWN} + torch.zeros(8, device='cpu')", STAYS),
        (20, f"{DRAWN} + torch.zeros(8, device=torch.device('cpu'))", STAYS),
        (20, f"{DRAWN} + mu.to(torch.device('cpu'))", STAYS),
        (20, f"{DRAWN} + torch.FloatTensor([0.0] * 8)", STAYS),
        (20, f"{DRAWN} + torch.arange(8).float().exp()", STAYS),
        (20, "z = torch.cat([mu, torch.zeros(1, 8)])[:-1]", STAYS),
        (20, f"{DRAWN} * torch.stack([torch.tensor(1.0), mu.mean()])[0]", STAYS),
        (20, f"{DRAWN} + torch.as_tensor(mu.detach().numpy())", OF_NUMPY),
        (20, f"{DRAWN} + float(np.asarray(mu.detach())[0, 0])", OF_NUMPY),
        (20, f"{DRAWN} + mu.cpu()", STAYS),
        (20, f"{DRAWN} + torch.randn(8, generator=self.generator)", "draws from self.generator"),
        (20, f"{DRAWN} + torch.nn.Linear(8, 8)(mu)", STAYS),
        (7, f"{DRAWN} * HALF", STAYS),
        (0, f"{DRAWN} @ torch.eye(8, device=x.device)", None),
        (0, f"{DRAWN} @ torch.eye(8).to(x) + torch.zeros(8).type_as(mu)", None),
        (0, f"{DRAWN} @ torch.eye(8).to(x.device)", None),
        (0, f"{DRAWN} + mu.cpu().mean(0).to(next(self.parameters()).device)", None),
        (0, f"{DRAWN} + torch.zeros_like(mu) + mu.new_zeros(8) + torch.tensor(0.0)", None),
        (0, f"{DRAWN}[torch.arange(len(x))] + self.noise(*mu.shape) * 1e-3", None),
        (0, f"{DRAWN} + torch.as_tensor(mu.detach().cpu().numpy().mean(0), device=mu.device)", None),
        (0, f"{DRAWN} + float(torch.ones(8).sum()) + torch.as_tensor(mu)", None),
    ],
)  # fmt: skip
def test_tensors_that_stay_on_the_cpu_are_found_without_a_gpu(
    line: int, now: str, told: str | None, broken: Callable[[str, str], Path]
) -> None:
    found = verdict(follows_its_device, case("mine", (broken(DRAWN, now),)))
    if told is None:
        assert found is None
    else:
        assert found is not None
        assert told in found
        assert (f"mine.py, line {line}: " in found) or line == 7


@pytest.mark.parametrize(("kept", "stays"), [("self.pull = ", True), ('self.register_buffer("pull", ', False)])
def test_an_attribute_that_is_no_buffer_stays_on_the_cpu(
    kept: str, stays: bool, broken: Callable[[str, str], Path]
) -> None:
    file = broken("self.pull = pull", f"{kept}torch.ones(8){')' * (not stays)}")
    file.write_text(file.read_text().replace(DRAWN, f"{DRAWN} * self.pull"))
    found = verdict(follows_its_device, case("mine", (file,)))
    assert (f"mine.py, line 20: {STAYS}" in (found or "")) == stays, found


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ((SUPER, ""), "mine.py, line 14: __init__ does not call super().__init__(*nets)"),
        ((SUPER, "        self.extra = torch.nn.Linear(1, 1)\n" + SUPER), "line 14: __init__ does not call super"),
        ((SUPER, "        torch.nn.Module.__init__(self)\n"), "line 14: __init__ does not call super"),
        (('"loss": recon', '"los": recon'), "mine.py, line 18: losses(x) has no entry 'loss'; it has los, recon"),
        (('"recon": recon}', '"recon": recon.item()}'), "losses(x)['recon'] is a float, not a scalar tensor: leave"),
        (('"recon": recon}', '"recon": sse(x, self.decode(z))}'), "['recon'] is no scalar tensor, it has the shape ("),
        (('{"loss": recon + kl, "recon": recon}', "recon + kl"), 'returned Tensor, not a dict: return {"loss": ...}'),
        (("    def losses", "    def prior(self, n):\n        return self.noise(n, 3)\n\n    def losses"),
         "prior(7) has shape (7, 3), not (7, 8)"),
        ((DRAWN, "z = mu * float('nan')"), "mine.py, line 18: losses(x)['loss'] is nan on the first batch"),
        ((DRAWN, f"{DRAWN} + (mu - mu).square().sum().sqrt()"),
         "line 18: the gradient of losses(x)['loss'] at self.encoder is not"),
        (("    def losses", "    def start_epoch(self, epoch):\n        raise KeyError('x')\n\n    def losses"),
         "mine.py, line 19: KeyError: 'x'"),
        ((f"kl = {KL}", "kl = mu.square().mean(); recon = sse(x, self.decode(mu)).mean()"),
         "does not reach the second half of the encoder's outputs (of a Gaussian posterior the log-variances)"),
        ((f"kl = {KL}", "kl = log_var.exp().mean(); recon = sse(x, self.decode(log_var)).mean()"),
         "does not reach the first half of the encoder's outputs (of a Gaussian posterior the means)"),
    ],
)  # fmt: skip
def test_one_cause_is_one_finding_with_its_line(
    change: tuple[str, str], told: str, broken: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Case, "trained", lambda *_: pytest.fail("what depends on the cause is tried"))
    said: list[str] = []
    assert check_files((broken(*change),), said.append) == 1
    (found,) = (text for text in said if "FAILED" in text)
    assert told in found
    assert re.search(r"\n    \d+ checks depend on it\.$", found)
    assert said[-1] == "1 check failed."


@pytest.mark.parametrize(
    "given", ["self.sampled(*self.posterior(x))", "self.posterior(x)[1]", "self.posterior(x)[0] / 2"]
)
def test_codes_that_are_not_the_mean_are_found(given: str, broken: Callable[[str, str], Path]) -> None:
    file = broken("    def losses", f"    def encode(self, x):\n        return {given}\n\n    def losses")
    found = verdict(encodes_the_mean, case("mine", (file,)))
    assert found is not None
    assert "mine.py, line 18: encode(x) is not the mean of posterior(x)" in found


def test_pictures_that_are_drawn_from_elsewhere_are_found(broken: Callable[[str, str], Path]) -> None:
    own = "    def pictures(self, x):\n        return {'a': torch.rand(1, 2, *self.spec.shape)}\n\n    def losses"
    found = verdict(draws_its_own_pictures, case("mine", (broken("    def losses", own),)))
    assert found is not None
    assert "mine.py, line 18: pictures(x) drew other images the second time" in found


@pytest.mark.parametrize("now", ["@method", "@method()", '@method(label="Mine")'])
def test_a_decorator_without_a_name_is_told_with_its_line(now: str, broken: Callable[[str, str], Path]) -> None:
    with pytest.raises(UserError, match=r"mine\.py, line 10: @method has no name\. Write the name first"):
        check_files((broken('@method("mine")', now),), print)
