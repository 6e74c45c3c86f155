"""Descriptors that go along when what holds them is sent to another process."""

from __future__ import annotations


class Descriptor(int):
    """The number of an open file, marked as one: `pool.hand` sends the file, and the receiver has its own number."""

    __slots__ = ()
