"""The reward pool: runs completions against their unit tests and answers with a verdict for every job, by a deadline.

    with RewardPool(PoolConfig(slots=4)) as pool:
        batch = pool.submit(jobs)  # returns at once; the tests run in other processes
        ...
        results = pool.gather(batch, deadline_s=300)  # in the order of the jobs

Loads without torch. ``docs/reward-pool.md`` says what the isolation stops and what it does not.
"""

from oorl.reward.jobs import Job, PoolConfig, Result
from oorl.reward.pool import Batch, RewardPool
from oorl.reward.verdict import Verdict

__all__ = ["Batch", "Job", "PoolConfig", "Result", "RewardPool", "Verdict"]
