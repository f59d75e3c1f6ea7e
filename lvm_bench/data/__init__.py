"""The data sets, one file each; importing this package registers them all, without torch."""

from lvm_bench.data import celeba, cifar10, digits, folder, mnist, npz

__all__ = ["celeba", "cifar10", "digits", "folder", "mnist", "npz"]
