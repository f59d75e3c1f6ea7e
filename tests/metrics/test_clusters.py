"""Mini-batch k-means finds separate clusters, and its centres equal those of scikit-learn's update."""

import numpy as np
import torch
from sklearn.cluster import MiniBatchKMeans

from lvm_bench.metrics.clusters import kmeans, kmeans_labels
from lvm_bench.seeding import generator


def blobs(n, k, d, apart):
    stream = torch.Generator().manual_seed(0)
    which = torch.randint(k, (n,), generator=stream)
    return apart * torch.randn(k, d, generator=stream)[which] + torch.randn(n, d, generator=stream), which


def test_every_run_finds_clusters_that_are_apart_and_numbers_them_its_own_way():
    rows, which = blobs(3000, 20, 10, apart=30)
    labels = kmeans_labels(rows, 20, 5, lambda: generator(0, "test"))
    assert labels.shape == (5, 3000)
    for run in labels:
        pairs = {(int(a), int(b)) for a, b in zip(run, which, strict=True)}
        assert len(pairs) == 20
    assert not torch.equal(labels[0], labels[1])


def test_steps_are_those_of_scikit_learn_from_the_same_start():
    rows, _ = blobs(2000, 6, 4, apart=3)
    start, batches = rows[:6].clone(), rows.split(500)
    theirs = MiniBatchKMeans(6, init=start.numpy(), n_init=1, reassignment_ratio=0)
    for batch in batches:
        theirs.partial_fit(batch.numpy())
    torch.testing.assert_close(kmeans(batches, start), torch.from_numpy(theirs.cluster_centers_), rtol=1e-4, atol=1e-4)


def test_rows_that_are_equal_or_fewer_than_the_clusters():
    rows = torch.ones(50, 3)
    assert len(kmeans_labels(rows, 20, 2, lambda: generator(0, "test"))[0].unique()) == 1
    few = torch.eye(4)
    assert np.all([len(run.unique()) == 4 for run in kmeans_labels(few, 20, 3, lambda: generator(0, "test"))])
