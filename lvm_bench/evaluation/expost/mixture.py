"""A mixture of Gaussians with full covariances, as Ghosh et al. 2020 (arXiv:1903.12436, sec. 4) fit it to codes."""

import warnings

import torch
from jaxtyping import Float64
from torch import Tensor

_MOST_STEPS = 2000  # of the EM algorithm, as in that paper's code


class Mixture:
    """sum_k w_k N(mean_k, root_k root_k^T)."""

    def __init__(
        self, weights: Float64[Tensor, " k"], means: Float64[Tensor, "k l"], covariances: Float64[Tensor, "k l l"]
    ):
        self.weights, self.means, self.roots = weights, means, torch.linalg.cholesky(covariances)

    def sample(self, n: int, stream: torch.Generator) -> Float64[Tensor, "n l"]:
        """n draws."""
        which = torch.multinomial(self.weights, n, replacement=True, generator=stream)
        noise = torch.randn(n, self.means.shape[1], generator=stream, dtype=torch.float64)
        draws = torch.empty_like(noise)
        for k, (mean, root) in enumerate(zip(self.means, self.roots, strict=True)):
            draws[which == k] = mean + noise[which == k] @ root.T
        return draws


def fit(codes: Float64[Tensor, "n l"], components: int, stream: torch.Generator) -> Mixture:
    """The mixture that scikit-learn's EM finds from k-means; 1e-6 is added to the variances. Needs n >= components."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    seed = int(torch.randint(2**31, (), generator=stream))
    mixture = GaussianMixture(components, max_iter=_MOST_STEPS, random_state=seed)
    with warnings.catch_warnings():
        # Equal codes have fewer clusters than components, and what the last step gives is a mixture as well.
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit(codes.numpy())
    parts = (mixture.weights_, mixture.means_, mixture.covariances_)
    return Mixture(*(torch.from_numpy(part).double() for part in parts))
