"""The header Content-Disposition of a download, with a file name of any kind (RFC 6266, RFC 8187)."""

from __future__ import annotations

import re
from urllib.parse import quote

_PLAIN = re.compile(r"[A-Za-z0-9 !#$&+,.;=@^_`{}~()\[\]-]+")
_UNQUOTED = "!#$&+-.^_`|~"
"""Characters beside letters and digits that RFC 8187 leaves as they are."""


def attachment(name: str) -> dict[str, str]:
    r"""Return the header that names a download.

    >>> attachment("part 1.glb")
    {'Content-Disposition': 'attachment; filename="part 1.glb"'}
    >>> attachment("Gehäuse.glb")
    {'Content-Disposition': 'attachment; filename="Geh_use.glb"; filename*=UTF-8\'\'Geh%C3%A4use.glb'}

    A name beyond plain ASCII is given twice: encoded, and with each other character as an underscore for old clients.

    Args:
        name: name of the file, without a folder.
    """
    if _PLAIN.fullmatch(name):
        return {"Content-Disposition": f'attachment; filename="{name}"'}
    fallback = "".join(char if _PLAIN.fullmatch(char) else "_" for char in name)
    # Half of a surrogate pair, which stands for a byte that is not UTF-8, has no encoding.
    encoded = quote(name.encode("utf-8", "replace"), safe=_UNQUOTED)
    return {"Content-Disposition": f"attachment; filename=\"{fallback}\"; filename*=UTF-8''{encoded}"}
