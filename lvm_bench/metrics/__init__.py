"""Every metric as a pure function: it takes arrays (NumPy or torch) and returns a float or a dict of floats.

May import: modelling.
"""

from lvm_bench.metrics.coverage import code_coverage, f_score, knn, prd, prd_curve
from lvm_bench.metrics.directions import direction_angles, latent_directions, pca_factor_vae_score, pca_mig, whitened
from lvm_bench.metrics.diversity import vendi
from lvm_bench.metrics.equilibrium import equilibrium_variance, two_nn_dimension
from lvm_bench.metrics.factors import beta_vae_score, dci, factor_vae_score, mig, sap
from lvm_bench.metrics.fidelity import cmmd, fd_infinity, frechet_distance, kernel_distance, kernel_distances
from lvm_bench.metrics.grid import draw_factors
from lvm_bench.metrics.infomec import infomec
from lvm_bench.metrics.latent import (
    active_units,
    collapsed_variance,
    gaussian_entropy,
    gaussian_kl,
    gaussian_kl_floor,
    gaussian_kl_parts,
    mmd,
    whitened_entropy,
)
from lvm_bench.metrics.likelihood import bits_per_dim, elbo, iw_bound
from lvm_bench.metrics.memorisation import authpct, c_t, nearest_distances, nearest_ratio
from lvm_bench.metrics.modularity import explicitness, modularity
from lvm_bench.metrics.normality import mardia_kurtosis, mardia_skewness
from lvm_bench.metrics.novelty import auroc, mahalanobis
from lvm_bench.metrics.perceptual import lpips
from lvm_bench.metrics.posteriors import collapsed_kl, dimension_wise_kl, mutual_information, total_correlation
from lvm_bench.metrics.prior import energy_distance, norm_ks, norm_ks_prior, sliced_wasserstein
from lvm_bench.metrics.probe import linear_probe
from lvm_bench.metrics.reconstruction import mse, psnr, sharpness, sse
from lvm_bench.metrics.similarity import ms_ssim, ssim
from lvm_bench.metrics.two_sample import two_sample_test

__all__ = [
    "active_units",
    "auroc",
    "authpct",
    "beta_vae_score",
    "bits_per_dim",
    "c_t",
    "cmmd",
    "code_coverage",
    "collapsed_kl",
    "collapsed_variance",
    "dci",
    "dimension_wise_kl",
    "direction_angles",
    "draw_factors",
    "elbo",
    "energy_distance",
    "equilibrium_variance",
    "explicitness",
    "f_score",
    "factor_vae_score",
    "fd_infinity",
    "frechet_distance",
    "gaussian_entropy",
    "gaussian_kl",
    "gaussian_kl_floor",
    "gaussian_kl_parts",
    "infomec",
    "iw_bound",
    "kernel_distance",
    "kernel_distances",
    "knn",
    "latent_directions",
    "linear_probe",
    "lpips",
    "mahalanobis",
    "mardia_kurtosis",
    "mardia_skewness",
    "mig",
    "mmd",
    "modularity",
    "ms_ssim",
    "mse",
    "mutual_information",
    "nearest_distances",
    "nearest_ratio",
    "norm_ks",
    "norm_ks_prior",
    "pca_factor_vae_score",
    "pca_mig",
    "prd",
    "prd_curve",
    "psnr",
    "sap",
    "sharpness",
    "sliced_wasserstein",
    "sse",
    "ssim",
    "total_correlation",
    "two_nn_dimension",
    "two_sample_test",
    "vendi",
    "whitened",
    "whitened_entropy",
]
