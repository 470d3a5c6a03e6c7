# /// script
# requires-python = ">=3.11"
# dependencies = ["langchain-promptrun", "filelock", "ray", "rich"]
# [tool.uv.sources]
# langchain-promptrun = { path = "..", editable = true }
# ///
"""10,000 prompts through a chain on a local Ray cluster: a progress bar, a rate limit, and output that goes on.

Ray brings the chain to each worker process, an actor, by pickle; it replaces a killed one and asks its prompts again.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

# Ray reads these when it is imported: it reports its use to nobody, and its workers run in this very environment.
os.environ |= {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}

try:
    import ray
    from batches import Asker, main
    from ray.util import ActorPool
except ModuleNotFoundError as missing:
    raise SystemExit(
        f"error: {missing.name} is not installed: use `uv run examples/batch_ray.py`, "
        "or `pip install --group apps --editable .` first"
    ) from missing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from batches import Outcome, Prompt, Spread

OBJECT_STORE_BYTES = 100 * 2**20


@contextmanager
def ray_cluster(asker: Asker, workers: int) -> Iterator[Spread]:
    """Start a cluster on this machine, with an actor for each worker."""
    ray.init(
        address="local",
        num_cpus=workers,
        include_dashboard=False,
        object_store_memory=OBJECT_STORE_BYTES,
        log_to_driver=False,
        logging_level="ERROR",
    )
    try:
        actor = ray.remote(max_restarts=-1, max_task_retries=-1)(Asker)
        pool = ActorPool([actor.remote(asker.chain, asker.at_once, asker.rate) for _ in range(workers)])
        yield partial(spread, pool, 2 * workers)
    finally:
        ray.shutdown()


def spread(pool: ActorPool, at_once: int, groups: Iterable[list[Prompt]]) -> Iterator[list[Outcome]]:
    """Have groups asked, so many at once that each actor finds the next one waiting."""
    groups = iter(groups)
    for group in islice(groups, at_once):
        pool.submit(lambda actor, prompts: actor.ask.remote(prompts), group)
    while pool.has_next():
        yield pool.get_next_unordered()
        for group in islice(groups, 1):
            pool.submit(lambda actor, prompts: actor.ask.remote(prompts), group)


if __name__ == "__main__":
    main(ray_cluster)
