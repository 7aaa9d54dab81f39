# The compiled module of src/native.

INTERFACE: int
