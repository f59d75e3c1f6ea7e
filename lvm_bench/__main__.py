"""`python -m lvm_bench` is `lvm-bench`."""

from lvm_bench.cli import main

main()
