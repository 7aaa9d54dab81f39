# The compiled module of src/native.

INTERFACE: int

# look.c
AT_ROOT: int
AT_PATH: int
AT_ENTRY: int
AT_READABLE: int
NOT_REGULAR: int

def look(
    root: bytes, path: bytes, readable: tuple[bytes, ...], /
) -> list[tuple[bytes, bool, int, int, int]] | tuple[int, int, bytes]: ...
def open_regular(root: bytes, path: bytes, /) -> tuple[int, int, int, int] | tuple[int, int, bytes]: ...
