"""A pair of networks in one file: one hidden layer on either side."""

from math import prod

from torch import nn

from lvm_bench import network


@network("shallow")
def shallow(shape, latent, heads, width):
    """One hidden layer of 128 units for images of any size in [0, 1]."""
    hidden = max(1, round(128 * width))  # `width` is the suite's factor on all networks
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(prod(shape), hidden), nn.ReLU(), nn.Linear(hidden, heads * latent))
    decoder = nn.Sequential(
        nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, prod(shape)), nn.Unflatten(1, shape)
    )
    return encoder, decoder  # the decoder's output is raw: `Method.squash` maps it to the value range
