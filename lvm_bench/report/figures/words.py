"""Plain words with units for what figures show: logged terms, scores, and the settings of ablations."""

import textwrap

from lvm_bench.report.figures.style import plain
from lvm_bench.report.tables.layouts import distance_name

WIDTH = 19  # characters of a line beside an axis that is an inch long
TERMS = {
    "loss": "loss, each method's own",
    "learning_rate": "learning rate",
    "recon": "reconstruction error",
    "recon_norm": "root of the squared error",
    "recon_plus_kl10": "error + KL / ln 10",
    "kl": "KL divergence (nats)",
    "kl_bound": "bound of the KL (nats)",
    "own_kl": "KL to own component (nats)",
    "global_kl": "KL to the mixture (nats)",
    "mi": "mutual information (nats)",
    "tc": "total correlation (nats)",
    "dwkl": "dimension-wise KL (nats)",
    "mmd": "MMD to prior draws",
    "sinkhorn": "Sinkhorn divergence",
    "sliced_wasserstein": "sliced Wasserstein distance",
    "adversarial": "adversarial loss",
    "adversary_loss": "loss of the adversary",
    "batch_variance": "variance of a batch's codes",
    "kde_variance": "variance of the density's codes",
    "particle_variance": "variance of particles",
    "code_l2": "squared norm of codes",
    "decoder_l2": "squared norm of the decoder",
    "diagonal": "penalty on the diagonal",
    "off_diagonal": "penalty off the diagonal",
    "sigma": "deviation of the likelihood",
    "energy": "energy (nats)",
}
METRICS = {
    "frechet": "Fréchet distance", "kid": "kernel distance (KID)", "sse": "squared error per image",
    "mse": "squared error per value", "recon": "reconstruction error", "loss": "loss",
    "gaussian_kl": "KL divergence to N(0, I) (nats)", "gaussian_kl_target": "KL divergence to target (nats)",
    "entropy_gap": "entropy gap (nats)", "collapsed_variance": "number of dead axes", "mmd": "MMD to N(0, I)",
    "mmd_target": "MMD to target", "elbo": "ELBO (nats)", "iw_bound": "importance-weighted bound (nats)",
    "bits_per_dim": "bits per dimension",
}  # fmt: skip
KINDS = {
    "recon": "of reconstructions", "interpolated": "of interpolations", "fake": "of samples",
    "expost": "of ex-post samples", "heldout": "of held-out images", "train": "of training images",
    "sampled": "of drawn codes", "mean": "", "grid": "",
}  # fmt: skip
SETTINGS = {
    "m": "images m in the density", "k_e": "epochs between draws of its images", "k_b": "steps between encodings",
    "beta": "weight β", "beta_rule": "rule for β", "bandwidth": "bandwidth h", "latent": "latent size l",
    "floor": "floor of the density", "max_cdf": "level of the floor", "support": "support B of the prior",
}  # fmt: skip


def term_name(term: str) -> str:
    """The name of a logged term; one that we do not know has its own, with spaces."""
    return _wrapped(TERMS.get(term) or plain(term.replace("_", " ")))


def setting_name(setting: str) -> str:
    """The name of a setting or argument."""
    return SETTINGS.get(setting) or plain(setting.replace("_", " "))


def score_name(key: str, width: int = WIDTH) -> str:
    """The name of a score, `<metric>.<kind>@<extractor>`, in lines of at most so many characters."""
    before, _, extractor = key.partition("@")
    metric, _, kind = before.partition(".")
    base, _, sampler = kind.partition("-")
    space = extractor if metric != "frechet" or distance_name(extractor) == "FD" else ""
    name = METRICS.get(metric) or plain(metric.replace("_", " "))
    if metric == "frechet" and not space:
        name = plain(distance_name(extractor))
    words = [
        name,
        KINDS.get(base, base),
        f"by {plain(sampler)}" if sampler else "",
        f"({plain(space)})" if space else "",
    ]
    return _wrapped(" ".join(filter(None, words)), width)


def _wrapped(text: str, width: int = WIDTH) -> str:
    return "\n".join(textwrap.wrap(text, width))
