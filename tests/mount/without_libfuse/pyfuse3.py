"""In the place of pyfuse3 on a machine whose libfuse is gone: what the dynamic linker says then."""

raise ImportError("libfuse3.so.3: cannot open shared object file: No such file or directory")
