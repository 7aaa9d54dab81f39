"""A place to mount, as the mount tests have it."""

from tests.mount.conftest import place

__all__ = ["place"]
