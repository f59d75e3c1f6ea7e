"""Speed and memory beside what people use: `make bench` writes RESULTS.md, `make bench-smoke` tries a few."""
