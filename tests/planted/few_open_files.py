"""No bug, but a mean system: 64 open files unless the node asks for more, and 400 if it does."""

from __future__ import annotations

import resource

resource.setrlimit(resource.RLIMIT_NOFILE, (64, 400))
