/* Rows of integers and references by inode number: what `vfs/packed_rows.py` is, without an object for each step.

   A table is 1,024 shards, chosen by the low bits of the number, which is a hash. A shard keeps its rows close together
   in one array of cells, and beside it slots: the number of a row plus one, 0 where there is none, at the first free
   place from the one that the key hashes to. So no step moves more than one shard's rows, and what shrinks is given
   back.

   Whoever changes a table holds the interpreter, and the table's mutex while he does. So with the interpreter the shape
   of a table can be read without the mutex; with the mutex alone a row can be copied (`rows_copy_file`). Nothing that
   could run Python code, wait or allocate objects is done under the mutex; references are dropped after it.

   The type takes no part in garbage collection: rows refer to names and kinds, which lead to no table. */

#include "native.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
    SHARD_BITS = 10,
    SHARDS = 1 << SHARD_BITS,
    FEWEST_SLOTS = 8,
    FEWEST_ROWS = 4,
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
    uint32_t length;   /* how many rows there are */
    uint32_t room;     /* how many fit */
    uint32_t mask;     /* how many slots there are, less one; without rows there are none */
} shard;

struct RowsObject {
    PyObject_HEAD
    pthread_mutex_t mutex;
    Py_ssize_t length;
    uint32_t integers, references, width; /* a row is its key, its count, integers and then references */
    shard shards[SHARDS];
};

/* ---- shards: the caller holds the interpreter, and for what changes them the mutex ---------------------------- */

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

/* The slot of a key, or the free one that it would get. There must be slots, of which one at least is free. */
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
    if (in->length == 0)
        return NULL;
    uint32_t row = in->slots[slot_of(self, in, key)];
    return row == 0 ? NULL : row_at(self, in, row - 1);
}

/* Give a shard so many slots, a power of two; false, with nothing changed, if there is no memory. */
static bool
set_slots(const RowsObject *self, shard *in, uint32_t count)
{
    uint32_t *slots = calloc(count, sizeof *slots);
    if (slots == NULL)
        return false;
    free(in->slots);
    in->slots = slots;
    in->mask = count - 1;
    for (uint32_t row = 0; row < in->length; row++)
        slots[slot_of(self, in, row_at(self, in, row)[KEY].number)] = row + 1;
    return true;
}

static bool
set_room(const RowsObject *self, shard *in, uint32_t room)
{
    cell *rows = realloc(in->rows, (size_t)room * self->width * sizeof *rows);
    if (rows == NULL)
        return false;
    in->rows = rows;
    in->room = room;
    return true;
}

/* Have a free slot and place for one more row. */
static bool
make_room(const RowsObject *self, shard *in)
{
    uint32_t slots = in->slots == NULL ? 0 : in->mask + 1;
    if (in->length >= UINT32_MAX / 8)
        return false;
    if ((uint64_t)(in->length + 1) * 4 > (uint64_t)slots * 3
        && !set_slots(self, in, slots == 0 ? FEWEST_SLOTS : slots * 2))
        return false;
    return in->length < in->room || set_room(self, in, in->room + in->room / 8 + FEWEST_ROWS);
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

/* Remove the row of a key that is there; the last one takes its place, and its references are the caller's. */
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
    } else {
        /* If there is no memory to become smaller, it stays as it is. */
        if (in->room > last + last / 4 + 2 * FEWEST_ROWS)
            set_room(self, in, last + FEWEST_ROWS);
        if (in->mask >= FEWEST_SLOTS && last * 8 <= in->mask)
            set_slots(self, in, (in->mask + 1) / 2);
    }
}

/* ---- arguments ------------------------------------------------------------------------------------------------ */

static bool
as_key(PyObject *value, int64_t *key)
{
    *key = PyLong_AsLongLong(value);
    return *key != -1 || !PyErr_Occurred();
}

static bool
takes(Py_ssize_t given, Py_ssize_t wanted)
{
    if (given != wanted)
        PyErr_Format(PyExc_TypeError, "takes %zd arguments, not %zd", wanted, given);
    return given == wanted;
}

/* Copy a row's own integers and references from two tuples; the references are not counted yet. */
static bool
as_row(const RowsObject *self, PyObject *integers, PyObject *references, cell *row)
{
    if (!PyTuple_Check(integers) || PyTuple_Size(integers) != self->integers || !PyTuple_Check(references)
        || PyTuple_Size(references) != self->references) {
        PyErr_Format(PyExc_ValueError, "a row is a tuple of %u integers and one of %u references",
                     (unsigned)self->integers, (unsigned)self->references);
        return false;
    }
    for (uint32_t at = 0; at < self->integers; at++)
        if (!as_key(PyTuple_GetItem(integers, at), &row[FIRST + at].number))
            return false;
    for (uint32_t at = 0; at < self->references; at++)
        row[FIRST + self->integers + at].object = PyTuple_GetItem(references, at);
    return true;
}

static void
hold(const RowsObject *self, cell *row)
{
    for (uint32_t at = FIRST + self->integers; at < self->width; at++)
        Py_INCREF(row[at].object);
}

static void
drop(const RowsObject *self, cell *row)
{
    for (uint32_t at = FIRST + self->integers; at < self->width; at++)
        Py_DECREF(row[at].object);
}

static PyObject *
tuple_of_references(const RowsObject *self, const cell *row)
{
    PyObject *found = PyTuple_New(self->references);
    for (uint32_t at = 0; found != NULL && at < self->references; at++)
        PyTuple_SetItem(found, at, Py_NewRef(row[FIRST + self->integers + at].object));
    return found;
}

static PyObject *
tuple_of_integers(const RowsObject *self, const cell *row)
{
    PyObject *found = PyTuple_New(self->integers);
    for (uint32_t at = 0; found != NULL && at < self->integers; at++) {
        PyObject *number = PyLong_FromLongLong(row[FIRST + at].number);
        if (number == NULL) {
            Py_DECREF(found);
            return NULL;
        }
        PyTuple_SetItem(found, at, number);
    }
    return found;
}

/* Copy the row of a key, with its references held; false if it is not there. */
static bool
copy_row(RowsObject *self, int64_t key, cell *out)
{
    pthread_mutex_lock(&self->mutex);
    cell *row = find_row(self, key);
    if (row != NULL)
        memcpy(out, row, self->width * sizeof *row);
    pthread_mutex_unlock(&self->mutex);
    if (row != NULL)
        hold(self, out);
    return row != NULL;
}

/* ---- methods: the names and meanings of `packed_rows.Rows` ---------------------------------------------------- */

static PyObject *
rows_get(PyObject *object, PyObject *number)
{
    RowsObject *self = (RowsObject *)object;
    cell row[MOST_COLUMNS];
    int64_t key;
    if (!as_key(number, &key))
        return NULL;
    if (!copy_row(self, key, row))
        Py_RETURN_NONE;
    PyObject *integers = tuple_of_integers(self, row), *references = tuple_of_references(self, row);
    PyObject *found = integers == NULL || references == NULL ? NULL : PyTuple_Pack(2, integers, references);
    Py_XDECREF(integers);
    Py_XDECREF(references);
    drop(self, row);
    return found;
}

static PyObject *
rows_lookups(PyObject *object, PyObject *number)
{
    RowsObject *self = (RowsObject *)object;
    int64_t key;
    if (!as_key(number, &key))
        return NULL;
    pthread_mutex_lock(&self->mutex);
    cell *row = find_row(self, key);
    int64_t count = row == NULL ? 0 : row[COUNT].number;
    pthread_mutex_unlock(&self->mutex);
    return PyLong_FromLongLong(count);
}

static PyObject *
rows_add(PyObject *object, PyObject *const *arguments, Py_ssize_t given)
{
    RowsObject *self = (RowsObject *)object;
    cell row[MOST_COLUMNS] = {{0}};
    if (!takes(given, 3) || !as_key(arguments[0], &row[KEY].number) || !as_row(self, arguments[1], arguments[2], row))
        return NULL;
    row[COUNT].number = 1;
    shard *in = shard_of(self, row[KEY].number);
    pthread_mutex_lock(&self->mutex);
    bool is_new = find_row(self, row[KEY].number) == NULL;
    bool fits = is_new && make_room(self, in);
    if (fits) {
        in->slots[slot_of(self, in, row[KEY].number)] = in->length + 1;
        memcpy(row_at(self, in, in->length), row, self->width * sizeof *row);
        in->length++;
        self->length++;
        hold(self, row);
    }
    pthread_mutex_unlock(&self->mutex);
    if (is_new && !fits)
        return PyErr_NoMemory();
    return PyBool_FromLong(is_new);
}

static PyObject *
rows_count(PyObject *object, PyObject *number)
{
    RowsObject *self = (RowsObject *)object;
    int64_t key;
    if (!as_key(number, &key))
        return NULL;
    pthread_mutex_lock(&self->mutex);
    cell *row = find_row(self, key);
    if (row != NULL)
        row[COUNT].number++;
    pthread_mutex_unlock(&self->mutex);
    return PyBool_FromLong(row != NULL);
}

static PyObject *
rows_update(PyObject *object, PyObject *const *arguments, Py_ssize_t given)
{
    RowsObject *self = (RowsObject *)object;
    cell row[MOST_COLUMNS] = {{0}}, former[MOST_COLUMNS];
    if (!takes(given, 3) || !as_key(arguments[0], &row[KEY].number) || !as_row(self, arguments[1], arguments[2], row))
        return NULL;
    pthread_mutex_lock(&self->mutex);
    cell *there = find_row(self, row[KEY].number);
    if (there != NULL) {
        row[COUNT].number = there[COUNT].number;
        memcpy(former, there, self->width * sizeof *there);
        memcpy(there, row, self->width * sizeof *there);
        hold(self, row);
    }
    pthread_mutex_unlock(&self->mutex);
    if (there != NULL)
        drop(self, former);
    return PyBool_FromLong(there != NULL);
}

static PyObject *
rows_lower(PyObject *object, PyObject *const *arguments, Py_ssize_t given)
{
    RowsObject *self = (RowsObject *)object;
    cell gone[MOST_COLUMNS];
    int64_t key, count;
    if (!takes(given, 2) || !as_key(arguments[0], &key) || !as_key(arguments[1], &count))
        return NULL;
    pthread_mutex_lock(&self->mutex);
    cell *row = find_row(self, key);
    bool was_there = row != NULL, is_gone = was_there && row[COUNT].number <= count;
    if (is_gone) {
        memcpy(gone, row, self->width * sizeof *row);
        remove_row(self, key);
    } else if (was_there) {
        row[COUNT].number -= count;
    }
    pthread_mutex_unlock(&self->mutex);
    if (!was_there)
        Py_RETURN_NONE;
    if (!is_gone)
        return PyTuple_New(0);
    PyObject *references = tuple_of_references(self, gone);
    drop(self, gone);
    return references;
}

static PyObject *
rows_scan(PyObject *object, PyObject *const *arguments, Py_ssize_t given)
{
    RowsObject *self = (RowsObject *)object;
    int64_t number, column;
    if (!takes(given, 2) || !as_key(arguments[0], &number) || !as_key(arguments[1], &column))
        return NULL;
    if (number < 0 || number >= SHARDS || column < 0 || column >= self->references) {
        PyErr_SetString(PyExc_IndexError, "there is no such shard or column");
        return NULL;
    }
    const shard *in = &self->shards[number];
    PyObject *found = PyList_New(0);
    /* What is made here could run a collection, and that anything: so the length is looked at each time. */
    for (uint32_t at = 0; found != NULL && at < in->length; at++) {
        const cell *row = row_at(self, in, at);
        PyObject *reference = Py_NewRef(row[FIRST + self->integers + column].object);
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
    if (!as_key(number, &key))
        return -1;
    return find_row((RowsObject *)object, key) != NULL;
}

/* ---- for the loop --------------------------------------------------------------------------------------------- */

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
        const cell *references = row + FIRST + self->integers;
        out->lookups = row[COUNT].number;
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

/* ---- the type ------------------------------------------------------------------------------------------------- */

static PyObject *
rows_new(PyTypeObject *type, PyObject *arguments, PyObject *named)
{
    unsigned integers, references;
    if (named != NULL && PyDict_Size(named) > 0) {
        PyErr_SetString(PyExc_TypeError, "Rows takes two numbers");
        return NULL;
    }
    if (!PyArg_ParseTuple(arguments, "II", &integers, &references))
        return NULL;
    if (integers > MOST_COLUMNS / 2 || references > MOST_COLUMNS / 2 - FIRST) {
        PyErr_SetString(PyExc_ValueError, "a row has not so many columns");
        return NULL;
    }
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    RowsObject *self = (RowsObject *)allocate(type, 0); /* all of it is zero */
    if (self == NULL)
        return NULL;
    self->integers = integers;
    self->references = references;
    self->width = FIRST + integers + references;
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
    {"get", rows_get, METH_O, "Return a row's integers and references, None if it is not there."},
    {"lookups", rows_lookups, METH_O, "Return a row's count, 0 if it is not there."},
    {"add", (PyCFunction)(void (*)(void))rows_add, METH_FASTCALL, "Add a row that is counted once, unless it is there."},
    {"count", rows_count, METH_O, "Count a row once more, if it is there."},
    {"update", (PyCFunction)(void (*)(void))rows_update, METH_FASTCALL, "Replace a row, if it is there, not its count."},
    {"lower", (PyCFunction)(void (*)(void))rows_lower, METH_FASTCALL, "Lower a row's count, at zero remove it."},
    {"scan", (PyCFunction)(void (*)(void))rows_scan, METH_FASTCALL, "Return keys and one reference of a shard's rows."},
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
    if (type == NULL)
        return -1;
    int failed = PyModule_AddObjectRef(module, "Rows", type);
    Py_DECREF(type);
    return failed;
}
