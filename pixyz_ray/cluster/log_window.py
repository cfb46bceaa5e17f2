"""The end of a growing log in memory, from which many readers are served, each from its own offset."""

from __future__ import annotations

import codecs

PIECE_BYTES = 64 * 1024


class LogWindow:
    """The last bytes of a log.

    Args:
        max_bytes: the most that are kept.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._data = bytearray()
        self.start = 0
        """Offset of the first byte kept."""

    @property
    def end(self) -> int:
        """Offset after the last byte."""
        return self.start + len(self._data)

    def append(self, data: bytes) -> None:
        """Add the bytes that follow."""
        self._data += data
        if (surplus := len(self._data) - self._max_bytes) > 0:
            del self._data[:surplus]
            self.start += surplus

    def move_to(self, offset: int) -> None:
        """Discard the content, and continue from another offset."""
        self._data.clear()
        self.start = offset

    def piece(self, offset: int) -> tuple[str, int]:
        """Return the text from an offset inside the window, and the offset after it."""
        begin = offset - self.start
        return text_of(bytes(self._data[begin : begin + PIECE_BYTES]), offset)


def text_of(data: bytes, offset: int) -> tuple[str, int]:
    """Return the text of a piece of a log without an incomplete last character, and the offset after the text.

    Args:
        data: the piece.
        offset: offset of its first byte.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(data)
    # The bytes of an incomplete character are read again from this offset.
    return text, offset + len(data) - len(decoder.getstate()[0])
