"""The service's own settings, with the paths of `benchmarks.site` beside its own."""

from inventory_project.settings import *  # noqa: F403

ROOT_URLCONF = "benchmarks.site"
