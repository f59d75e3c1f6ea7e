"""A client of the lease alone: it does the work of each folder that it may, and that nobody has done."""

import os
import random
import sys
from pathlib import Path

from lvm_bench.runs.lease import Leases

if __name__ == "__main__":
    folders = [folder for folder in Path(sys.argv[1]).iterdir() if folder.is_dir()]
    random.Random(os.getpid()).shuffle(folders)
    leases = Leases()
    while todo := [folder for folder in folders if not (folder / "done").exists()]:
        for folder in todo:
            lease = leases.take(folder)
            if lease is None:
                continue
            with lease:
                if not (folder / "done").exists():
                    with (folder / "begun").open("a") as stream:
                        stream.write(f"{os.getpid()}\n")
                    (folder / "done").touch()
