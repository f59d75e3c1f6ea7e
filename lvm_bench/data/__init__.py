"""The data sets, one file each; importing this package registers them all, without torch."""

from lvm_bench.data import celeba, cifar10, digits, dsprites, folder, mnist, npz, scenes3d, shapes3d, sprites

__all__ = ["celeba", "cifar10", "digits", "dsprites", "folder", "mnist", "npz", "scenes3d", "shapes3d", "sprites"]
