"""DINOv2's vision transformers as feature spaces. Oquab et al. 2023, arXiv:2304.07193.

The recipe is that of FD_DINOv2 (Stein et al. 2023, arXiv:2306.04675). Parameters have the names of the official
weights, so that no code has to be downloaded with them.
"""

from collections import OrderedDict

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from lvm_bench.data.files import fetchable, require
from lvm_bench.data.official import damaged
from lvm_bench.evaluation.features import Extractor, Request, extractor, resized, weights_of

SIZE, PATCH = 224, 14  # pixels of a side
TRAINED = 37  # patches of a side that the official weights have positions for, those of 518 pixels
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet

_NETWORKS = {"dinov2": ("ViT-L/14", 1024, 24, 16), "dinov2-small": ("ViT-S/14", 384, 12, 6)}  # width, depth, heads


class Attention(nn.Module):
    """Softmax attention of all tokens to all. Vaswani et al. 2017, sec. 3.2."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        q, k, v = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # [b heads n d/heads] each
        return self.proj(nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Scale(nn.Module):
    """A learned factor for each channel. Touvron et al. 2021, arXiv:2103.17239."""

    def __init__(self, width: int):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        return x * self.gamma


class Block(nn.Module):
    """Attention, then a network of each token, both added to what they are given."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(width, eps=1e-6) for _ in range(2))
        self.attn = Attention(width, heads)
        layers = {"fc1": nn.Linear(width, 4 * width), "act": nn.GELU(), "fc2": nn.Linear(4 * width, width)}
        self.mlp = nn.Sequential(OrderedDict(layers))
        self.ls1, self.ls2 = Scale(width), Scale(width)

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))


class VisionTransformer(nn.Module):
    """Square images to class tokens after the last norm. `trained` is the number of patches of a side in training."""

    def __init__(self, width: int, depth: int, heads: int, trained: int = TRAINED):
        super().__init__()
        self.trained = trained
        self.patch_embed = nn.Sequential(OrderedDict(proj=nn.Conv2d(3, width, PATCH, PATCH)))
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + trained**2, width))
        self.mask_token = nn.Parameter(torch.zeros(1, width))  # of training alone, and part of the official weights
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, images: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b d"]:
        patches = self.patch_embed(images)
        tokens = patches.flatten(2).mT
        first = self.cls_token.expand(len(tokens), -1, -1)
        x = torch.cat([first, tokens], dim=1) + self.positions(patches.shape[2])
        return self.norm(self.blocks(x)[:, 0])

    def positions(self, side: int) -> Float[Tensor, "1 n d"]:
        """The embedding of the class token's position and of `side` x `side` patches, bicubic from the trained ones.

        The official code adds 0.1 to the side: patches lie a little closer together than they would without it.
        """
        if side == self.trained:
            return self.pos_embed
        grid = self.pos_embed[:, 1:].mT.unflatten(2, (self.trained, self.trained))
        factor = (side + 0.1) / self.trained
        resized = nn.functional.interpolate(grid, scale_factor=(factor, factor), mode="bicubic")
        return torch.cat([self.pos_embed[:, :1], resized.flatten(2).mT], dim=1)


def standardised(images: UInt8[Tensor, "b c h w"]) -> Float[Tensor, "b 3 224 224"]:
    """Grey or colour images as the network takes them: resized by Pillow, then with ImageNet's mean and variance."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    return (resized(images, SIZE) / 255 - mean) / std


@extractor("dinov2")
def dinov2(request: Request) -> Extractor:
    """Class token (1,024) of DINOv2's ViT-L/14, PIL bicubic resize to 224. Stein et al. 2023, arXiv:2306.04675."""
    return _loaded("dinov2", request)


@extractor("dinov2-small")
def dinov2_small(request: Request) -> Extractor:
    """Class token (384) of DINOv2's ViT-S/14, for CPUs; the recipe of `dinov2`. Oquab et al. 2023, arXiv:2304.07193."""
    return _loaded("dinov2-small", request)


def _outline(name: str) -> VisionTransformer:
    """A network without numbers, which takes neither time nor draws."""
    _, width, depth, heads = _NETWORKS[name]
    with torch.device("meta"):
        return VisionTransformer(width, depth, heads)


def _loaded(name: str, request: Request) -> Extractor:
    (file,), network = require(name, request.root), _outline(name)
    try:
        network.load_state_dict(weights_of(file, name), assign=True)
    except (RuntimeError, TypeError) as error:
        raise damaged(file, f"it holds other weights than those of DINOv2's {_NETWORKS[name][0]}") from error
    return _space(name, network, request.device)


def untrained(name: str, device: str) -> Extractor:
    """The network with equal weights everywhere: as fast as with its own, and of no other use."""
    network = _outline(name).to_empty(device=device)
    for values in network.parameters():
        nn.init.constant_(values, 0.01)
    return _space(name, network, device)


def _space(name: str, network: VisionTransformer, device: str) -> Extractor:
    body = network.eval().to(device)

    def class_token(images: UInt8[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        return body(standardised(images).to(device))

    kind, width, *_ = _NETWORKS[name]
    note = f"DINOv2 {kind} class token ({width:,}), PIL bicubic resize to {SIZE} x {SIZE} in 8 bits"
    checksum = fetchable()[name][0].checksum.split(":")[1]
    # On the CPU few images at a time, so that what layers pass on stays in the cache.
    size = 8 if device == "cpu" else 100
    return Extractor(name, f"{name}-{checksum[:16]}-pil-bicubic-{SIZE}", note, class_token, device, size)
