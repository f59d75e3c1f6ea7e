"""Measures of reconstructions beside the packages that papers take them from."""

import statistics
from functools import cache

import torch
from torch import Tensor

from benchmarks.measure import quiet, relative, taking_turns
from benchmarks.rows import Equality, Goal, Measured, row
from lvm_bench.evaluation.perceptual import untrained_perceptual
from lvm_bench.metrics import lpips, ms_ssim, ssim
from lvm_bench.metrics.perceptual import Perceptual

BATCH = 50  # images at a time, on the side of the packages


@cache
def pairs(n: int, channels: int, side: int) -> tuple[Tensor, Tensor]:
    """Smooth images in [0, 1] and noisy copies."""
    stream = torch.Generator().manual_seed(0)
    real = torch.nn.functional.avg_pool2d(torch.rand(n, channels, side, side, generator=stream), 5, 1, 2)
    return real, (real + 0.05 * torch.randn(real.shape, generator=stream)).clamp(0, 1)


@row("ssim", "SSIM of 500 images, 64 px", "torchmetrics", Goal(faster=2.0), smoke=True)
def ssim_of_pairs(small: bool) -> Measured:
    """SSIM by us and by torchmetrics, which counts windows over the mirrored edges too; its map shows the others."""
    from torchmetrics.functional.image import structural_similarity_index_measure as theirs

    real, recon = pairs(50 if small else 500, 3, 64)
    few = real[:20].double(), recon[:20].double()
    inner = theirs(*few, data_range=1.0, return_full_image=True)[1][..., 5:-5, 5:-5].mean()
    difference = abs(ssim(*few) - float(inner))
    mine, others, _, _ = taking_turns(
        lambda: ssim(real, recon),
        lambda: [theirs(x, y, data_range=1.0) for x, y in zip(real.split(BATCH), recon.split(BATCH), strict=True)],
        2 if small else 5,
    )
    return Measured(mine, others, Equality("SSIM of the windows within the images", difference, 1e-6))


@row("ms-ssim", "MS-SSIM of 20 images, 256 px", "torchmetrics", Goal(faster=2.0))
def ms_ssim_of_pairs(small: bool) -> Measured:
    """MS-SSIM by us and by torchmetrics, which mirrors edges; compared with pytorch-msssim, which leaves them out."""
    from pytorch_msssim import ms_ssim as without_edges
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure as theirs

    real, recon = pairs(2 if small else 20, 3, 256)
    few = real[:2].double(), recon[:2].double()
    difference = abs(ms_ssim(*few)[""] - float(without_edges(*few, data_range=1.0)))
    mine, others, _, _ = taking_turns(
        lambda: ms_ssim(real, recon), lambda: theirs(real, recon, data_range=1.0), 2 if small else 5
    )
    return Measured(mine, others, Equality("MS-SSIM by pytorch-msssim", difference, 1e-6))


def with_weights_of(peer: torch.nn.Module) -> Perceptual:
    """Our network with the weights of the one of the lpips package."""
    network = untrained_perceptual("cpu")
    convolutions = [layer for layer in peer.modules() if isinstance(layer, torch.nn.Conv2d) and layer.bias is not None]
    linear = [layer for layer in peer.modules() if isinstance(layer, torch.nn.Conv2d) and layer.bias is None]
    state = {f"shares.{i}": layer.weight.flatten() for i, layer in enumerate(dict.fromkeys(linear))}
    for i, layer in enumerate(dict.fromkeys(convolutions)):
        state |= {f"convolutions.{i}.weight": layer.weight, f"convolutions.{i}.bias": layer.bias}
    network.load_state_dict(state)
    return network


@row("lpips", "LPIPS (alex) of 200 images, 64 px", "lpips", Goal(faster=1.5), smoke=True)
@torch.no_grad()
def lpips_of_pairs(small: bool) -> Measured:
    """LPIPS by us and by the lpips package, with the same random AlexNet."""
    from lpips import LPIPS

    with quiet():
        peer = LPIPS(net="alex", pnet_rand=True, verbose=False).eval()
    network = with_weights_of(peer)
    real, recon = pairs(50 if small else 200, 3, 64)
    split = [*zip(real.split(BATCH), recon.split(BATCH), strict=True)]
    mine, others, a, b = taking_turns(
        lambda: lpips(real, recon, network),
        lambda: torch.cat([peer(2 * x - 1, 2 * y - 1) for x, y in split]).double().mean(),
        2 if small else 7,
    )
    note = f"{len(real) / statistics.median(mine):.0f} and {len(real) / statistics.median(others):.0f} pairs a second"
    return Measured(mine, others, Equality("the distance, relative", relative(a, b), 1e-5), note=note)
