"""Every metric as a pure function: arrays in (NumPy or torch), a float or a dict of floats out."""

from lvm_bench.metrics.coverage import f_score, knn, prd, prd_curve
from lvm_bench.metrics.fidelity import frechet_distance, kernel_distance, kernel_distances
from lvm_bench.metrics.latent import (
    collapsed_kl,
    collapsed_variance,
    dimension_wise_kl,
    gaussian_entropy,
    gaussian_kl,
    gaussian_kl_floor,
    mmd,
    mutual_information,
    total_correlation,
    whitened_entropy,
)
from lvm_bench.metrics.reconstruction import mse, sharpness, sse

__all__ = [
    "collapsed_kl",
    "collapsed_variance",
    "dimension_wise_kl",
    "f_score",
    "frechet_distance",
    "gaussian_entropy",
    "gaussian_kl",
    "gaussian_kl_floor",
    "kernel_distance",
    "kernel_distances",
    "knn",
    "mmd",
    "mse",
    "mutual_information",
    "prd",
    "prd_curve",
    "sharpness",
    "sse",
    "total_correlation",
    "whitened_entropy",
]
