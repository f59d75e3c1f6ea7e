"""A metric in one file: how far codes lie from the origin."""

from lvm_bench import metric


@metric("spread", better="lower", of=("mean",), label="spread", table="latent")  # a column of the table `latent`
def spread(codes):
    """Mean distance of the codes from the origin, E|z|."""
    return float(codes.norm(dim=1).mean())
