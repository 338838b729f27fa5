"""Leaf hashes, the RFC 6962 tree, and the tile files (format.md sections 2 and 3)."""

import hashlib


def sha256(data):
    return hashlib.sha256(data).digest()


def text_of(digest):
    """A hash as records and headers write it."""
    return "sha256:" + digest.hex()


def leaf_hash(record):
    """RFC 6962 section 2.1: the prefix 0x00 keeps leaves apart from nodes."""
    return sha256(b"\x00" + record)


def node_hash(left, right):
    return sha256(b"\x01" + left + right)


class Tree:
    """An RFC 6962 tree that only grows. It keeps no leaves: just the roots of the complete subtrees that
    the leaves so far fall into, the largest first (a compact range), one for each 1 bit of `size`."""

    def __init__(self):
        self.size = 0
        self._roots = []

    def append(self, leaf):
        """Adds a leaf. Returns the hashes that it completes at the tile levels, as (level, index, hash):
        level L holds the roots of 256^L leaves, that is of subtrees 8 * L high."""
        complete = [(0, self.size, leaf)]
        index, height, root = self.size, 0, leaf
        while index & 1:  # there is a subtree as large as this one to the left of it
            root = node_hash(self._roots.pop(), root)
            index >>= 1
            height += 1
            if height % 8 == 0:
                complete.append((height // 8, index, root))
        self._roots.append(root)
        self.size += 1
        return complete

    def root(self):
        """RFC 6962 section 2.1: the root of no leaves is the hash of nothing; else each complete
        subtree is the left brother of all that is right of it."""
        if not self._roots:
            return sha256(b"")
        root = self._roots[-1]
        for left in reversed(self._roots[:-1]):
            root = node_hash(left, root)
        return root


def tile_count(size, level):
    """How many hashes a tree of `size` leaves has at a tile level."""
    return size >> (8 * level)
