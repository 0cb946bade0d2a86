"""The one YAML loader of the toolkit."""

from __future__ import annotations

from typing import Any

import yaml

# The C loader is ten times faster, where PyYAML was built with it.
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
