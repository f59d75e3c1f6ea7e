"""What is measured on a GPU, and the script that measures all of it: `python -m benchmarks.gpu`."""
