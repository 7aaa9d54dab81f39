/* Rows of integers and references by inode number: what `vfs/packed_rows.py` is, in less time.

   A table is 1,024 shards, chosen by the low bits of the number, which is a hash. A shard keeps its
   rows close together in one array of cells, and beside it slots: the number of a row plus one, 0
   where there is none, at the first free place from the one that the key hashes to. So no step
   moves more than one shard's rows, and what shrinks is given back.

   Whoever changes a table holds the interpreter, and the table's mutex while he does. So with the
   interpreter the shape of a table can be read without the mutex; with the mutex alone a row can be
   copied (`rows_copy_file`). Nothing that could run Python code, wait or make objects is done under
   the mutex; references are dropped after it.

   The type takes no part in garbage collection: rows refer to names and kinds, which lead to no
   table. */

#include "native.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
    SHARD_BITS = 10,
    SHARDS = 1 << SHARD_BITS,
    FEWEST_SLOTS = 8,
    FEWEST_ROWS = 4,
    MOST_ROWS = 1 << 28, /* of a shard */
    NO_KEY = -1,
    KEY = 0,
    COUNT = 1,
    FIRST = 2, /* of a row's own integers */
    MOST_COLUMNS = 32,
};

typedef union {
    int64_t number;
    PyObject *object;
} cell;

typedef struct {
    cell *rows;
    uint32_t *slots;
    uint32_t length, room; /* how many rows there are, and how many fit */
    uint32_t mask;         /* how many slots there are, less one; without rows there are none */
} shard;

struct RowsObject {
    PyObject_HEAD
    pthread_mutex_t mutex;
    Py_ssize_t length;
    uint32_t integers, references;
    uint32_t names, width; /* a row is its key, its count, integers, and from `names` references */
    shard shards[SHARDS];
};

/* ---- shards: the caller holds the interpreter, and for what changes them the mutex ----------- */

static inline shard *
shard_of(RowsObject *self, int64_t key)
{
    return &self->shards[key & (SHARDS - 1)];
}

static inline cell *
row_at(const RowsObject *self, const shard *in, uint32_t row)
{
    return in->rows + (size_t)row * self->width;
}

static inline uint32_t
wanted_slot(const shard *in, int64_t key)
{
    return (uint32_t)((uint64_t)key >> SHARD_BITS) & in->mask;
}

/* The slot of a key, or the free one that it would get; there are slots, and one is free. */
static uint32_t
slot_of(const RowsObject *self, const shard *in, int64_t key)
{
    uint32_t slot = wanted_slot(in, key);
    for (uint32_t row; (row = in->slots[slot]) != 0; slot = (slot + 1) & in->mask)
        if (row_at(self, in, row - 1)[KEY].number == key)
            break;
    return slot;
}

static cell *
find_row(RowsObject *self, int64_t key)
{
    shard *in = shard_of(self, key);
    uint32_t row = in->length == 0 ? 0 : in->slots[slot_of(self, in, key)];
    return row == 0 ? NULL : row_at(self, in, row - 1);
}

/* Have room for so many rows, of which a quarter of the slots stay free; false, with every row as
   it was, if there is no memory. */
static bool
resize(const RowsObject *self, shard *in, uint32_t room)
{
    uint32_t count = FEWEST_SLOTS;
    while (count / 4 * 3 < room)
        count *= 2;
    if (in->slots == NULL || count != in->mask + 1) {
        uint32_t *slots = calloc(count, sizeof *slots);
        if (slots == NULL)
            return false;
        free(in->slots);
        in->slots = slots;
        in->mask = count - 1;
        for (uint32_t row = 0; row < in->length; row++)
            slots[slot_of(self, in, row_at(self, in, row)[KEY].number)] = row + 1;
    }
    cell *rows = realloc(in->rows, (size_t)room * self->width * sizeof *rows);
    if (rows == NULL && room > in->room)
        return false;
    in->rows = rows != NULL ? rows : in->rows;
    in->room = room;
    return true;
}

static bool
add_row(RowsObject *self, const cell *row)
{
    shard *in = shard_of(self, row[KEY].number);
    if (in->length == in->room
        && (in->room >= MOST_ROWS || !resize(self, in, in->room + in->room / 8 + FEWEST_ROWS)))
        return false;
    in->slots[slot_of(self, in, row[KEY].number)] = in->length + 1;
    memcpy(row_at(self, in, in->length++), row, self->width * sizeof *row);
    self->length++;
    return true;
}

/* Free a slot, moving up what stands behind it only because it was taken. */
static void
free_slot(const RowsObject *self, shard *in, uint32_t slot)
{
    uint32_t row, behind = (slot + 1) & in->mask;
    for (; (row = in->slots[behind]) != 0; behind = (behind + 1) & in->mask) {
        uint32_t wanted = wanted_slot(in, row_at(self, in, row - 1)[KEY].number);
        if (((behind - wanted) & in->mask) >= ((behind - slot) & in->mask)) {
            in->slots[slot] = row;
            slot = behind;
        }
    }
    in->slots[slot] = 0;
}

/* Remove the row of a key that is there; the last one takes its place. */
static void
remove_row(RowsObject *self, int64_t key)
{
    shard *in = shard_of(self, key);
    uint32_t slot = slot_of(self, in, key), row = in->slots[slot] - 1, last = in->length - 1;
    free_slot(self, in, slot);
    if (row != last) {
        cell *moved = row_at(self, in, last);
        in->slots[slot_of(self, in, moved[KEY].number)] = row + 1;
        memcpy(row_at(self, in, row), moved, self->width * sizeof *moved);
    }
    in->length = last;
    self->length--;
    if (last == 0) {
        free(in->rows);
        free(in->slots);
        *in = (shard){0};
    } else if (in->room > last + last / 4 + 2 * FEWEST_ROWS) {
        resize(self, in, last + FEWEST_ROWS); /* without memory for that it stays as it is */
    }
}

/* ---- rows and tuples ------------------------------------------------------------------------- */

static void
hold(const RowsObject *self, const cell *row)
{
    for (uint32_t at = self->names; at < self->width; at++)
        Py_INCREF(row[at].object);
}

static void
drop(const RowsObject *self, const cell *row)
{
    for (uint32_t at = self->names; at < self->width; at++)
        Py_DECREF(row[at].object);
}

/* Read a key, and a row's own integers and references, which are not held yet. */
static bool
parse_row(const RowsObject *self, PyObject *arguments, cell *row)
{
    long long key;
    PyObject *integers, *references;
    if (!PyArg_ParseTuple(arguments, "LO!O!", &key, &PyTuple_Type, &integers, &PyTuple_Type,
                          &references))
        return false;
    if (PyTuple_Size(integers) != self->integers || PyTuple_Size(references) != self->references) {
        PyErr_Format(PyExc_ValueError, "a row has %u integers and %u references",
                     (unsigned)self->integers, (unsigned)self->references);
        return false;
    }
    if (key < 0) {
        PyErr_SetString(PyExc_ValueError, "an inode number is not negative");
        return false;
    }
    row[KEY].number = key;
    row[COUNT].number = 1;
    for (uint32_t at = 0; at < self->integers; at++) {
        row[FIRST + at].number = PyLong_AsLongLong(PyTuple_GetItem(integers, at));
        if (row[FIRST + at].number == -1 && PyErr_Occurred())
            return false;
    }
    for (uint32_t at = 0; at < self->references; at++)
        row[self->names + at].object = PyTuple_GetItem(references, at);
    return true;
}

static PyObject *
integers_of(const RowsObject *self, const cell *row)
{
    PyObject *found = PyTuple_New(self->integers);
    for (uint32_t at = 0; found != NULL && at < self->integers; at++) {
        PyObject *number = PyLong_FromLongLong(row[FIRST + at].number);
        if (number == NULL || PyTuple_SetItem(found, at, number) < 0)
            Py_CLEAR(found);
    }
    return found;
}

static PyObject *
references_of(const RowsObject *self, const cell *row)
{
    PyObject *found = PyTuple_New(self->references);
    for (uint32_t at = 0; found != NULL && at < self->references; at++)
        PyTuple_SetItem(found, at, Py_NewRef(row[self->names + at].object));
    return found;
}

/* ---- methods: the names and meanings of `packed_rows.Rows` ----------------------------------- */

/* A number that is too large is one that is not there: a request may name any. */
static bool
parse_key(PyObject *number, int64_t *key)
{
    int is_too_large;
    *key = PyLong_AsLongLongAndOverflow(number, &is_too_large);
    return *key != NO_KEY || is_too_large || !PyErr_Occurred();
}

static PyObject *
rows_get(PyObject *object, PyObject *number)
{
    RowsObject *self = (RowsObject *)object;
    cell row[MOST_COLUMNS];
    int64_t key;
    if (!parse_key(number, &key))
        return NULL;
    pthread_mutex_lock(&self->mutex);
    const cell *there = find_row(self, key);
    if (there != NULL)
        memcpy(row, there, self->width * sizeof *row);
    pthread_mutex_unlock(&self->mutex);
    if (there == NULL)
        Py_RETURN_NONE;
    hold(self, row);
    PyObject *integers = integers_of(self, row), *references = references_of(self, row);
    PyObject *found = integers && references ? PyTuple_Pack(2, integers, references) : NULL;
    Py_XDECREF(integers);
    Py_XDECREF(references);
    drop(self, row);
    return found;
}

static PyObject *
rows_lookups(PyObject *object, PyObject *number)
{
    int64_t key;
    if (!parse_key(number, &key))
        return NULL;
    const cell *row = find_row((RowsObject *)object, key);
    return PyLong_FromLongLong(row == NULL ? 0 : row[COUNT].number);
}

static PyObject *
rows_add(PyObject *object, PyObject *arguments)
{
    RowsObject *self = (RowsObject *)object;
    cell row[MOST_COLUMNS];
    if (!parse_row(self, arguments, row))
        return NULL;
    if (find_row(self, row[KEY].number) != NULL)
        Py_RETURN_FALSE;
    pthread_mutex_lock(&self->mutex);
    bool is_added = add_row(self, row);
    if (is_added)
        hold(self, row);
    pthread_mutex_unlock(&self->mutex);
    return is_added ? PyBool_FromLong(1) : PyErr_NoMemory();
}

static PyObject *
rows_update(PyObject *object, PyObject *arguments)
{
    RowsObject *self = (RowsObject *)object;
    cell row[MOST_COLUMNS], former[MOST_COLUMNS];
    if (!parse_row(self, arguments, row))
        return NULL;
    cell *there = find_row(self, row[KEY].number);
    if (there == NULL)
        Py_RETURN_FALSE;
    hold(self, row);
    pthread_mutex_lock(&self->mutex);
    row[COUNT].number = there[COUNT].number;
    memcpy(former, there, self->width * sizeof *row);
    memcpy(there, row, self->width * sizeof *row);
    pthread_mutex_unlock(&self->mutex);
    drop(self, former);
    Py_RETURN_TRUE;
}

static PyObject *
rows_count(PyObject *object, PyObject *arguments)
{
    RowsObject *self = (RowsObject *)object;
    cell gone[MOST_COLUMNS];
    PyObject *number;
    int64_t key;
    long long change;
    if (!PyArg_ParseTuple(arguments, "OL", &number, &change) || !parse_key(number, &key))
        return NULL;
    cell *row = find_row(self, key);
    if (row == NULL)
        Py_RETURN_NONE;
    pthread_mutex_lock(&self->mutex);
    int64_t count;
    if (__builtin_add_overflow(row[COUNT].number, change, &count))
        count = INT64_MAX; /* it was above zero, and so is the change */
    bool is_gone = count <= 0;
    if (is_gone) {
        memcpy(gone, row, self->width * sizeof *row);
        remove_row(self, key);
    } else {
        row[COUNT].number = count;
    }
    pthread_mutex_unlock(&self->mutex);
    if (!is_gone)
        return PyTuple_New(0);
    PyObject *references = references_of(self, gone);
    drop(self, gone);
    return references;
}

static PyObject *
rows_scan(PyObject *object, PyObject *arguments)
{
    RowsObject *self = (RowsObject *)object;
    unsigned number, column;
    if (!PyArg_ParseTuple(arguments, "II", &number, &column))
        return NULL;
    if (number >= SHARDS || column >= self->references)
        return PyErr_Format(PyExc_IndexError, "there is no such shard or column");
    const shard *in = &self->shards[number];
    PyObject *found = PyList_New(0);
    /* To make an object can run a collection, and that anything: so all is looked at each time. */
    for (uint32_t at = 0; found != NULL && at < in->length; at++) {
        const cell *row = row_at(self, in, at);
        PyObject *reference = Py_NewRef(row[self->names + column].object);
        PyObject *pair = Py_BuildValue("(LN)", (long long)row[KEY].number, reference);
        if (pair == NULL || PyList_Append(found, pair) < 0)
            Py_CLEAR(found);
        Py_XDECREF(pair);
    }
    return found;
}

static Py_ssize_t
rows_length(PyObject *object)
{
    return ((RowsObject *)object)->length;
}

static int
rows_contains(PyObject *object, PyObject *number)
{
    int64_t key;
    return parse_key(number, &key) ? find_row((RowsObject *)object, key) != NULL : -1;
}

/* ---- for the loop ---------------------------------------------------------------------------- */

RowsObject *
rows_from(PyObject *module, PyObject *object)
{
    PyObject *type = PyObject_GetAttrString(module, "Rows");
    if (type == NULL)
        return NULL;
    int is_rows = PyObject_IsInstance(object, type);
    Py_DECREF(type);
    if (is_rows == 0)
        PyErr_SetString(PyExc_TypeError, "these are no rows of the compiled module");
    return is_rows == 1 ? (RowsObject *)object : NULL;
}

/* Append a reference that is bytes to a path; false if it is not, or does not fit. */
static bool
append(PyObject *part, char *path, size_t *length)
{
    if (!PyBytes_Check(part))
        return false;
    size_t size = (size_t)PyBytes_Size(part);
    if (size == 0 || size >= FILE_PATH_ROOM - *length)
        return false;
    memcpy(path + *length, PyBytes_AsString(part), size);
    *length += size;
    return true;
}

bool
rows_copy_file(RowsObject *self, uint64_t inode, struct file_row *out)
{
    if (self->integers < FILE_INTEGERS || self->references < FILE_REFERENCES || inode > INT64_MAX)
        return false;
    size_t length = 0;
    pthread_mutex_lock(&self->mutex);
    const cell *row = find_row(self, (int64_t)inode);
    bool found = row != NULL;
    if (found) {
        const cell *references = row + self->names;
        out->size = row[FIRST].number;
        out->mtime_ns = row[FIRST + 1].number;
        out->file = row[FIRST + 2].number;
        out->shown_ns = row[FIRST + 3].number;
        out->state = row[FIRST + 4].number;
        found = append(references[0].object, out->path, &length);
        if (found) {
            out->path[length++] = '/';
            found = append(references[1].object, out->path, &length);
        }
    }
    pthread_mutex_unlock(&self->mutex);
    if (found)
        out->path[length] = '\0';
    return found && strlen(out->path) == length;
}

void
rows_note_pushed(RowsObject *self, uint64_t inode)
{
    pthread_mutex_lock(&self->mutex);
    cell *row = find_row(self, (int64_t)inode);
    if (row != NULL) /* atomic for those who read with the interpreter alone */
        __atomic_fetch_or(&row[FIRST + 4].number, STATE_PUSHED, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&self->mutex);
}

/* ---- the type -------------------------------------------------------------------------------- */

static PyObject *
rows_new(PyTypeObject *type, PyObject *arguments, PyObject *named)
{
    (void)named;
    unsigned integers, references;
    if (!PyArg_ParseTuple(arguments, "II", &integers, &references))
        return NULL;
    if (integers > MOST_COLUMNS / 2 || references > MOST_COLUMNS / 2 - FIRST)
        return PyErr_Format(PyExc_ValueError, "a row has not so many columns");
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    RowsObject *self = (RowsObject *)allocate(type, 0); /* all of it is zero */
    if (self == NULL)
        return NULL;
    self->integers = integers;
    self->references = references;
    self->names = FIRST + integers;
    self->width = self->names + references;
    pthread_mutex_init(&self->mutex, NULL);
    return (PyObject *)self;
}

static void
rows_dealloc(PyObject *object)
{
    RowsObject *self = (RowsObject *)object;
    PyTypeObject *type = Py_TYPE(object);
    for (shard *in = self->shards; in < self->shards + SHARDS; in++) {
        for (uint32_t row = 0; row < in->length; row++)
            drop(self, row_at(self, in, row));
        free(in->rows);
        free(in->slots);
    }
    pthread_mutex_destroy(&self->mutex);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(object);
    Py_DECREF(type);
}

static PyMethodDef methods[] = {
    {"get", rows_get, METH_O, NULL},
    {"lookups", rows_lookups, METH_O, NULL},
    {"add", rows_add, METH_VARARGS, NULL},
    {"update", rows_update, METH_VARARGS, NULL},
    {"count", rows_count, METH_VARARGS, NULL},
    {"scan", rows_scan, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "Rows of integers and references by inode number; see readyfs.vfs.packed_rows."},
    {Py_tp_new, rows_new},
    {Py_tp_dealloc, rows_dealloc},
    {Py_tp_methods, methods},
    {Py_sq_length, rows_length},
    {Py_sq_contains, rows_contains},
    {0, NULL},
};

static PyType_Spec spec = {
    .name = "readyfs._native.Rows",
    .basicsize = sizeof(RowsObject),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = slots,
};

int
add_rows(PyObject *module)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &spec, NULL);
    int failed = type == NULL ? -1 : PyModule_AddObjectRef(module, "Rows", type);
    Py_XDECREF(type);
    return failed;
}
