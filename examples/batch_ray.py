# /// script
# requires-python = ">=3.11"
# dependencies = ["langchain-promptrun", "filelock", "ray", "rich"]
# [tool.uv.sources]
# langchain-promptrun = { path = "..", editable = true }
# ///
"""Many prompts through a chain on a local Ray cluster: a progress bar, a rate limit, and output that goes on.

Ray brings the chain to each worker process, an actor, by pickle; it replaces a killed one and asks its prompts again.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

# Ray reads these when it is imported: it reports its use to nobody, and its workers run in this very environment.
os.environ |= {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}

try:
    import ray
    from batches import TRIES, Asker, died, main
    from ray.exceptions import RayActorError
except ModuleNotFoundError as missing:
    raise SystemExit(
        f"error: {missing.name.partition('.')[0]} is not installed: use `uv run examples/batch_ray.py`, "
        "or `pip install --group apps --editable .` first (pip 25.1 or newer)"
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
        actor = ray.remote(max_restarts=-1, max_task_retries=TRIES - 1)(Asker)
        yield partial(spread, [actor.remote(asker.chain, asker.at_once) for _ in range(workers)])
    finally:
        ray.shutdown()


def spread(actors: list[Any], groups: Iterable[list[Prompt]]) -> Iterator[list[Outcome]]:
    """Have groups asked, by each actor one at a time."""
    groups, idle = iter(groups), list(actors)
    asked: dict[Any, tuple[Any, list[Prompt]]] = {}
    while True:
        for group in islice(groups, len(idle)):
            actor = idle.pop()
            asked[actor.ask.remote(group)] = actor, group
        if not asked:
            return
        (done,), _ = ray.wait(list(asked))
        actor, group = asked.pop(done)
        idle.append(actor)
        try:
            yield ray.get(done)
        except RayActorError:
            yield died(group)


if __name__ == "__main__":
    main(ray_cluster)
