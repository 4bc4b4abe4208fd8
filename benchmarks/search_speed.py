"""What a step of a search costs: the threshold by partition and by sort, and a whole step of ResNet-18 and Conv6.

Usage: python benchmarks/search_speed.py [threads]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from accelsim.slt.config import SearchConfig
from accelsim.slt.data import load_digits
from accelsim.slt.search import epoch_steps, start_search
from accelsim.slt.select import keep_best


def best_ms(function: Callable[[], object], repeats: int = 5) -> float:
    """Shortest of some calls, in milliseconds."""
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    return min(times) * 1e3


def main() -> None:
    """Print one line per measurement."""
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else torch.get_num_threads())
    scores = np.random.default_rng(0).normal(size=512 * 512 * 9).astype(np.float32)
    tensor = torch.from_numpy(scores)
    num_keep = int(0.3 * scores.size)
    print(f"threshold of {scores.size:,} scores, {torch.get_num_threads()} threads")
    print(f"  partition (ours)  {best_ms(lambda: keep_best(scores, num_keep)):8.2f} ms")
    print(f"  torch.kthvalue    {best_ms(lambda: torch.kthvalue(tensor, scores.size - num_keep)):8.2f} ms")
    print(f"  torch.sort        {best_ms(tensor.sort):8.2f} ms")
    data = load_digits()
    for network in ("conv6", "resnet18"):
        config = SearchConfig(network=network, prune_ratio=0.5, lock_ratio=0.2)
        steps = epoch_steps(start_search(config, data), 0)
        next(steps)
        print(
            f"{network}, batch {config.batch_size}, {config.precision}: {best_ms(partial(next, steps)):8.1f} ms a step"
        )


if __name__ == "__main__":
    main()
