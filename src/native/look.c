#include "native.h"

int
add_look(PyObject *module)
{
    (void)module;
    return 0;
}
