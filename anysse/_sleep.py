"""How long the machine has slept, as the clock that counts that tells beside the one that does not.

Not the wall clock: that is set, by hand and over the network.
"""

import time
from typing import Final

_CLOCKS: Final = (
    ("CLOCK_BOOTTIME", "CLOCK_MONOTONIC"),  # Linux
    ("CLOCK_MONOTONIC_RAW", "CLOCK_UPTIME_RAW"),  # macOS
)


def time_asleep() -> float:
    """Give the seconds for which the machine has slept since it started; 0.0 where no clock tells."""
    for counts_sleep, counts_none in _CLOCKS:
        if hasattr(time, counts_sleep) and hasattr(time, counts_none):
            awake = time.clock_gettime(getattr(time, counts_none))  # asked first: never below 0
            return time.clock_gettime(getattr(time, counts_sleep)) - awake
    return 0.0
