"""What holds for every test."""

from hypothesis import HealthCheck, settings

# Its limits are on wall time, which a busy machine has little of: in a fresh clone the first draw alone builds a table of all
# of Unicode. What is slow shows in the time of the whole suite.
settings.register_profile("chorus", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("chorus")
