/* What the parts of the compiled module share. */

#ifndef READYFS_NATIVE_H
#define READYFS_NATIVE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* Each adds its types and functions to the module; -1 with an exception set if that fails. */
int add_rows(PyObject *module);
int add_look(PyObject *module);
int add_loop(PyObject *module);

#endif
