import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import norm

N, B, L = 200, 6, 3


def parts(method, x, replay):
    """(sse, z, mu, log_var) of the method's first batch, as numpy arrays."""
    with torch.no_grad():
        heads = method.encoder(x).numpy()
        mu, log_var = heads[:, :L], heads[:, L:]
        z = mu + np.exp(log_var / 2) * replay((B, L))[0].numpy()
        recon = method.decode(torch.from_numpy(z)).numpy()
    return ((x.numpy() - recon) ** 2).sum() / B, z, mu, log_var


def stratified_weights():
    weights = np.full((B, B), 1 / (B - 1))
    for i in range(B):
        weights[i, i] = 1 / N
        weights[i, (i + 1) % B] = (N - B + 1) / (N * (B - 1))
    return weights


def decomposed(z, mu, log_var, weights):
    """(mi, tc, dwkl) by loops over codes, images and axes."""
    mi = tc = dwkl = 0.0
    for i in range(B):
        log = np.array(
            [[norm.logpdf(z[i, j], mu[k, j], np.exp(log_var[k, j] / 2)) for j in range(L)] for k in range(B)]
        )
        joint = logsumexp(log.sum(1), b=weights[i])
        marginals = sum(logsumexp(log[:, j], b=weights[i]) for j in range(L))
        mi += (log[i].sum() - joint) / B
        tc += (joint - marginals) / B
        dwkl += (marginals - norm.logpdf(z[i]).sum()) / B
    return mi, tc, dwkl


@pytest.mark.parametrize("objective", ["dlib", "weighted", "stratified"])
def test_loss_by_hand(linear, x, replay, objective):
    beta = 5.0
    method = linear("beta-tcvae", n_train=N, beta=beta, objective=objective)
    sse, z, mu, log_var = parts(method, x, replay)
    if objective == "dlib":
        kl = 0.5 * (mu**2 + np.exp(log_var) - 1 - log_var).sum(1).mean()
        expected = sse + kl + (beta - 1) * decomposed(z, mu, log_var, np.ones((B, B)))[1]
    else:
        weights = stratified_weights() if objective == "stratified" else np.full((B, B), 1 / (B * N))
        mi, tc, dwkl = decomposed(z, mu, log_var, weights)
        expected = sse + mi + beta * tc + dwkl
    assert method.losses(x)["loss"].item() == pytest.approx(expected)


@pytest.mark.parametrize("objective", ["dlib", "weighted"])
def test_logged_parts_are_stratified(linear, x, replay, objective):
    method = linear("beta-tcvae", n_train=N, beta=5.0, objective=objective)
    _, z, mu, log_var = parts(method, x, replay)
    losses = method.losses(x)
    expected = decomposed(z, mu, log_var, stratified_weights())
    assert [losses[name].item() for name in ("mi", "tc", "dwkl")] == pytest.approx(expected)
    assert not losses["tc"].requires_grad


def test_beta_1_is_the_vae(linear, x):
    tcvae, vae = linear("beta-tcvae", beta=1.0), linear("vae")
    assert tcvae.losses(x)["loss"].item() == pytest.approx(vae.losses(x)["loss"].item(), rel=1e-12)


def test_objectives_share_the_gradient_of_the_total_correlation(linear, x):
    """The loss minus its value at beta = 1 is (beta - 1) TC, up to a constant."""
    gradients = []
    for objective in ("dlib", "weighted"):
        strong, plain = (linear("beta-tcvae", beta=b, objective=objective) for b in (3.0, 1.0))
        g = [torch.autograd.grad(m.losses(x)["loss"], m.encoder[1].weight)[0] for m in (strong, plain)]
        gradients.append(g[0] - g[1])
    torch.testing.assert_close(*gradients)
    assert gradients[0].abs().max() > 1e-3
