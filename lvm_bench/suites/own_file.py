"""`lvm-bench init`: a bench.toml to fill in."""

from pathlib import Path

from lvm_bench import disk
from lvm_bench.errors import UserError

FILE = Path("bench.toml")

CONTENT = """\
# Settings of your own, over those that came with lvm-bench: its methods, data sets and suites are here too
# (`lvm-bench list suites`). What this file says wins. With a table [train] it would stand alone.

# Folders of Python files with your methods, data sets, networks, metrics or extractors, relative to this file:
# packages = ["methods"]

[datasets.mine]
base = "npz"                 # an array `images`, and one of `labels`; or "folder", of image files, with a `size`
path = "mine.npz"            # in the data folder (see `lvm-bench data`), or an absolute path
# test_path = "test.npz"     # without it, a sixth of the images are the test images
network = "conv"             # for images of any size; "mlp" for rows of a table too: `lvm-bench list networks`
latent = 16                  # the size of a code
likelihood = "sse"           # "bernoulli" for fewer than 256 pixels, whose squared errors are small
epochs = 50
extractor = "classifier"     # learns from the labels; without labels "inception" (`lvm-bench data fetch inception`)

[methods.avae.mine]
m = 1000                     # images in its estimate of the density: fewer than the training images

[methods.aae.mine]
hidden = [100, 100, 100]     # layers of its discriminator

# A variant of a method, with other arguments (`lvm-bench run --dry-run` prints them all):
[methods.vae-strong]
base = "vae"
label = "VAE, beta 4"
beta = 4.0

[suites.mine]                # lvm-bench run --suite mine
description = "My images"
methods = ["vae", "vae-strong", "aae", "avae"]
datasets = ["mine"]
seeds = [0, 1, 2]

# [suites.mine.train]        # for this suite alone; the same for [suites.mine.evaluate]
# batch_size = 100
# learning_rate = 5e-4
"""


def write() -> Path:
    """Write a bench.toml with a data set, a variant and a suite into the working folder; UserError if one is there."""
    if FILE.exists() or FILE.is_symlink():
        raise UserError(f"{FILE}: is there already, and is left as it is. Edit it, or give the command elsewhere.")
    disk.write_text(FILE, CONTENT)
    return FILE
