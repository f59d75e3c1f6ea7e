"""Speed and memory beside the packages that people use. `make bench` measures all, `make bench-smoke` a few."""
