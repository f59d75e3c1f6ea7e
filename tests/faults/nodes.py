"""A Ray cluster of N nodes on this machine, one CPU each. A line of input kills the last one, its end all."""

import sys

from ray.cluster_utils import Cluster

if __name__ == "__main__":
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    last = [cluster.add_node(num_cpus=1) for _ in range(int(sys.argv[1]) - 1)][-1]
    cluster.wait_for_nodes()
    (raylet,) = last.all_processes["raylet"]
    print(cluster.address, raylet.process.pid, flush=True)
    for _ in sys.stdin:
        cluster.remove_node(last, allow_graceful=False)
        print("killed", flush=True)
    cluster.shutdown()
