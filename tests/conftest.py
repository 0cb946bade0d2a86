"""For all tests: hypothesis without deadlines, since the machines that run this are shared and noisy."""

from hypothesis import settings

settings.register_profile("house", deadline=None)
settings.load_profile("house")
