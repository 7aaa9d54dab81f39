/* Answers as bytes: entries and listings, as readyfs/fuse/direct/replies.py packs them in Python. */

#include "native.h"

#include <linux/fuse.h>
#include <stddef.h>
#include <string.h>

/* IO_BYTES and BLOCK_BYTES of readyfs/vfs/attributes.py. */
#define IO_BYTES (128 * 1024)
#define BLOCK_BYTES 512

#define NS_OF_A_SECOND 1000000000

/* ---- from Python's values; each returns -1 with an exception set if it is something else ---- */

static int
take_u64(PyObject *tuple, Py_ssize_t index, uint64_t *out)
{
    PyObject *value = PyTuple_GetItem(tuple, index);
    if (value == NULL)
        return -1;
    *out = PyLong_AsUnsignedLongLong(value);
    return PyErr_Occurred() != NULL ? -1 : 0;
}

static int
take_u32(PyObject *tuple, Py_ssize_t index, uint32_t *out)
{
    uint64_t value;
    if (take_u64(tuple, index, &value) < 0)
        return -1;
    *out = (uint32_t)value;
    return 0;
}

static int
take_timeout(PyObject *entry, Py_ssize_t index, uint64_t *seconds, uint32_t *ns)
{
    PyObject *value = PyTuple_GetItem(entry, index);
    double timeout_s = value != NULL ? PyFloat_AsDouble(value) : -1;
    if (timeout_s < 0) {
        if (PyErr_Occurred() == NULL)
            PyErr_SetString(PyExc_ValueError, "a negative timeout");
        return -1;
    }
    *seconds = (uint64_t)timeout_s;
    *ns = (uint32_t)((timeout_s - (double)*seconds) * NS_OF_A_SECOND);
    return 0;
}

/* A raw file's time may be beyond what 64 bits hold in nanoseconds, though not in seconds. */
static int
take_long_time(PyObject *time_ns, uint64_t *seconds, uint32_t *ns)
{
    PyObject *second = PyLong_FromLong(NS_OF_A_SECOND);
    PyObject *parts = second != NULL ? PyNumber_Divmod(time_ns, second) : NULL;
    Py_XDECREF(second);
    int failed = parts == NULL || take_u64(parts, 0, seconds) < 0 || take_u32(parts, 1, ns) < 0;
    Py_XDECREF(parts);
    return failed ? -1 : 0;
}

static int
take_time(PyObject *attributes, Py_ssize_t index, uint64_t *seconds, uint32_t *ns)
{
    PyObject *value = PyTuple_GetItem(attributes, index);
    int overflow;
    long long time_ns = value != NULL ? PyLong_AsLongLongAndOverflow(value, &overflow) : -1;
    if (time_ns == -1 && PyErr_Occurred() != NULL)
        return -1;
    if (overflow != 0 || time_ns < 0)
        return take_long_time(value, seconds, ns);
    *seconds = (uint64_t)(time_ns / NS_OF_A_SECOND);
    *ns = (uint32_t)(time_ns % NS_OF_A_SECOND);
    return 0;
}

/* `Attributes` of readyfs/vfs/attributes.py: inode, mode, size, time, uid, gid. */
static int
take_attributes(PyObject *attributes, struct fuse_attr *out)
{
    if (take_u64(attributes, 0, &out->ino) < 0 || take_u32(attributes, 1, &out->mode) < 0
        || take_u64(attributes, 2, &out->size) < 0 || take_time(attributes, 3, &out->mtime, &out->mtimensec) < 0
        || take_u32(attributes, 4, &out->uid) < 0 || take_u32(attributes, 5, &out->gid) < 0)
        return -1;
    out->blocks = out->size / BLOCK_BYTES + (out->size % BLOCK_BYTES != 0);
    out->atime = out->ctime = out->mtime;
    out->atimensec = out->ctimensec = out->mtimensec;
    out->nlink = 1;
    out->blksize = IO_BYTES;
    return 0;
}

/* `Entry`: node, attributes, and the seconds that a name and its attributes hold. */
static int
take_entry(PyObject *entry, struct fuse_entry_out *out)
{
    PyObject *attributes = PyTuple_GetItem(entry, 1);
    memset(out, 0, sizeof *out);
    if (attributes == NULL || take_attributes(attributes, &out->attr) < 0
        || take_timeout(entry, 2, &out->entry_valid, &out->entry_valid_nsec) < 0
        || take_timeout(entry, 3, &out->attr_valid, &out->attr_valid_nsec) < 0)
        return -1;
    out->nodeid = out->attr.ino;
    return 0;
}

/* ---- a listing ---- */

struct listing {
    char *body;
    size_t room;
    size_t used;
    uint64_t reached; /* the position behind what was packed */
    size_t cached;    /* bytes in the kernel's own listing: plain records, without entries */
    PyObject *nodes;  /* of which each counts a lookup */
};

/* Pack one `ListedEntry`: name, entry, next position, counted. Returns 1, 0 if there is no room, or -1. */
static int
pack_listed(struct listing *listing, PyObject *listed)
{
    char *name;
    Py_ssize_t length;
    uint64_t position;
    struct fuse_entry_out out;
    PyObject *entry = PyTuple_Size(listed) == 4 ? PyTuple_GetItem(listed, 1) : NULL;
    if (entry == NULL) {
        PyErr_SetString(PyExc_TypeError, "not an entry of a listing");
        return -1;
    }
    if (PyBytes_AsStringAndSize(PyTuple_GetItem(listed, 0), &name, &length) < 0
        || take_entry(entry, &out) < 0 || take_u64(listed, 2, &position) < 0)
        return -1;
    size_t plain = FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + (size_t)length);
    if (sizeof out + plain > listing->room - listing->used)
        return 0;
    struct fuse_dirent dirent = {
        .ino = out.attr.ino, .off = position, .namelen = (uint32_t)length, .type = out.attr.mode >> 12
    };
    if (PyTuple_GetItem(listed, 3) != Py_True)
        memset(&out, 0, sizeof out); /* of `.` and `..` the kernel counts no lookup */
    else if (PyList_Append(listing->nodes, PyTuple_GetItem(entry, 0)) < 0)
        return -1;
    char *at = listing->body + listing->used;
    memcpy(at, &out, sizeof out);
    memcpy(at + sizeof out, &dirent, FUSE_NAME_OFFSET);
    memcpy(at + sizeof out + FUSE_NAME_OFFSET, name, (size_t)length);
    memset(at + sizeof out + FUSE_NAME_OFFSET + length, 0, plain - FUSE_NAME_OFFSET - (size_t)length);
    listing->used += sizeof out + plain;
    listing->cached += plain;
    listing->reached = position;
    return 1;
}

static PyObject *
pack_found(struct listing *listing, PyObject *found)
{
    PyObject *iterator = PyObject_GetIter(found);
    PyObject *listed = NULL;
    int packed = 1;
    while (packed == 1 && iterator != NULL && (listed = PyIter_Next(iterator)) != NULL) {
        packed = pack_listed(listing, listed);
        Py_DECREF(listed);
    }
    Py_XDECREF(iterator);
    if (PyErr_Occurred() != NULL)
        return NULL;
    return Py_BuildValue(
        "(y#OKnO)", listing->body, (Py_ssize_t)listing->used, listing->nodes, (unsigned long long)listing->reached,
        (Py_ssize_t)listing->cached, packed == 1 ? Py_True : Py_False
    );
}

static PyObject *
pack_listing(PyObject *module, PyObject *arguments)
{
    (void)module;
    PyObject *found;
    unsigned long long position;
    unsigned int room;
    if (!PyArg_ParseTuple(arguments, "OKI", &found, &position, &room))
        return NULL;
    struct listing listing = {.room = room, .reached = position, .nodes = PyList_New(0)};
    listing.body = PyMem_Malloc(room > 0 ? room : 1);
    PyObject *answer = NULL;
    if (listing.body == NULL)
        PyErr_NoMemory();
    else if (listing.nodes != NULL)
        answer = pack_found(&listing, found);
    PyMem_Free(listing.body);
    Py_XDECREF(listing.nodes);
    return answer;
}

static PyObject *
pack_entry(PyObject *module, PyObject *entry)
{
    (void)module;
    struct fuse_entry_out out;
    if (take_entry(entry, &out) < 0)
        return NULL;
    return PyBytes_FromStringAndSize((const char *)&out, sizeof out);
}

static PyMethodDef methods[] = {
    {"pack_entry", pack_entry, METH_O, "Pack the answer to a LOOKUP."},
    {"pack_listing", pack_listing, METH_VARARGS, "Pack the answer to a READDIRPLUS."},
    {NULL, NULL, 0, NULL},
};

int
add_pack(PyObject *module)
{
    return PyModule_AddFunctions(module, methods);
}
