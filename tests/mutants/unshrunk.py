"""A plugin of pytest: hypothesis says at once that it has found something.

To look for the smallest example, which nobody is going to read, takes it a minute or two.
"""

from hypothesis import HealthCheck, Phase, settings

settings.register_profile(
    "unshrunk",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    max_examples=50,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
)
