"""A feature space in one file: means of patches of 2 x 2 pixels."""

import torch

from lvm_bench import extractor
from lvm_bench.evaluation.features import Extractor


@extractor("patches")
def patches(request):
    """Means of patches of 2 x 2 pixels, in [0, 1]."""

    def means(images):  # uint8 [n c h w] -> float [n d]
        return torch.nn.functional.avg_pool2d(images / 255, 2).flatten(1)

    # The second argument is the identity: change it whenever the features change, because features are kept.
    return Extractor("patches", "patches-2x2-mean", "means of patches of 2 x 2 pixels", means, request.device)
