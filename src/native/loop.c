#include "native.h"

int
add_loop(PyObject *module)
{
    (void)module;
    return 0;
}
