#!/bin/bash
# Joins the results of `seeds.sbatch`, reads every file of them anew, and writes the tables:  bash merge.sh paper
set -euo pipefail
lvm-bench merge results-of-seed-* --into joined
lvm-bench verify --suite "$1" --results joined
lvm-bench report --suite "$1" --results joined
