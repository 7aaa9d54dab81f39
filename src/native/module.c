/* The compiled module `readyfs._native`: what is too dear in Python, and nothing that decides what a name means. */

#include "native.h"

/* Raised with every change of what Python and C expect of each other, here and in readyfs/native.py. */
#define INTERFACE 2

static int
execute(PyObject *module)
{
    if (PyModule_AddIntConstant(module, "INTERFACE", INTERFACE) < 0)
        return -1;
    if (add_rows(module) < 0 || add_look(module) < 0 || add_pack(module) < 0
        || add_loop(module) < 0)
        return -1;
    return 0;
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, execute},
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "readyfs._native",
    .m_doc = "The compiled part of readyfs; see src/native.",
    .m_slots = slots,
};

PyMODINIT_FUNC
PyInit__native(void)
{
    return PyModuleDef_Init(&definition);
}
