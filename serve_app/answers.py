"""JSON answers."""

from __future__ import annotations

import json
from typing import Any

from fastapi.responses import JSONResponse


class JsonAnswer(JSONResponse):
    """JSON in ASCII: a result or a file name may hold half a character, which UTF-8 has no bytes for."""

    def render(self, content: Any) -> bytes:
        """Return the body (called by Starlette)."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")
