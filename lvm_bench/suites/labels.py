"""How methods and data sets are written in tables and pictures."""

METHODS = {
    "vae": "VAE",
    "beta-tcvae": "β-TCVAE",
    "factor-vae": "FactorVAE",
    "rae-l2": "RAE-L2",
    "aae": "AAE",
    "wae-mmd": "WAE-MMD",
    "avae": "AVAE",
}

PLAIN = {"ae": "AE (no prior)"}  # methods that are controls: below the rule, never the best

DATASETS = {
    "mnist": "MNIST",
    "mnist-12k": "MNIST (12,000 images)",
    "fashion-mnist": "Fashion-MNIST",
    "cifar10": "CIFAR-10",
    "celeba": "CelebA",
    "dsprites": "dSprites",
    "shapes3d": "3D Shapes",
    "sprites": "sprites (rendered)",
    "scenes3d": "scenes3d (rendered)",
}


def label(method: str) -> str:
    """How a method is written in tables and pictures."""
    return (METHODS | PLAIN).get(method, method)
