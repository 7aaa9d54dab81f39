/* The type `Loop`: receives requests, answers those that it can without the interpreter, and returns the others. */

#include "loop.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef struct {
    PyObject_HEAD
    PyObject *rows; /* kept alive */
    struct loop loop;
    pthread_mutex_t mutex; /* guards what follows: desks that nobody sits at */
    struct desk *desks;
} LoopObject;

/* ---- desks ---------------------------------------------------------------------------------------------------- */

static struct desk *
take_desk(LoopObject *self)
{
    pthread_mutex_lock(&self->mutex);
    struct desk *desk = self->desks;
    if (desk != NULL)
        self->desks = desk->next;
    pthread_mutex_unlock(&self->mutex);
    if (desk == NULL && (desk = malloc(sizeof *desk)) == NULL)
        PyErr_NoMemory();
    return desk;
}

/* One spare desk is kept, for the next to sit down; what a store that hung for a while left behind goes. */
static void
give_desk(LoopObject *self, struct desk *desk)
{
    pthread_mutex_lock(&self->mutex);
    bool is_kept = self->desks == NULL;
    if (is_kept) {
        desk->next = NULL;
        self->desks = desk;
    }
    pthread_mutex_unlock(&self->mutex);
    if (!is_kept)
        free(desk);
}

/* ---- receiving and answering, without the interpreter --------------------------------------------------------- */

/* Wait for a request; returns 0, or an errno: ENODEV once there is nothing to read any more. */
static int
read_request(struct loop *loop, struct desk *desk)
{
    for (;;) {
        ssize_t got = read(loop->fd, desk->request, sizeof desk->request);
        if (got == 0)
            return ENODEV;
        if (got > 0) {
            desk->length = (size_t)got;
            desk->began_ns = now_ns();
            return 0;
        }
        struct pollfd ready = {.fd = loop->fd, .events = POLLIN};
        if (errno == EAGAIN)
            poll(&ready, 1, -1);
        else if (errno != EINTR && errno != ENOENT) /* ENOENT: withdrawn before it was read */
            return errno;
    }
}

/* Send an answer; what it promised is taken back if nobody received it. */
static enum outcome
send_answer(struct loop *loop, struct desk *desk)
{
    /* Counted first: who has the answer may ask at once how many requests there were. */
    count_begun(&loop->counts, desk->operation, 1);
    bool is_sent = write(loop->fd, desk->answer, desk->answer_length) == (ssize_t)desk->answer_length;
    bool is_withdrawn = !is_sent && errno == ENOENT;
    if (is_sent || is_withdrawn)
        count_elapsed(&loop->counts, desk->operation, now_ns() - desk->began_ns);
    else
        count_begun(&loop->counts, desk->operation, -1);
    if (!is_sent && desk->opened)
        open_undo(loop, desk, false);
    return is_sent || is_withdrawn ? ANSWERED : FOR_PYTHON;
}

/* Serve until there is something for Python: a request at the desk, the news that one was adopted, or an errno. */
static enum outcome
serve(struct loop *loop, struct desk *desk, int *error)
{
    for (;;) {
        *error = read_request(loop, desk);
        if (*error)
            return FOR_PYTHON;
        enum outcome outcome = answer(loop, desk);
        if (outcome == ANSWERED)
            outcome = send_answer(loop, desk);
        if (outcome != ANSWERED)
            return outcome;
    }
}

static PyObject *
loop_receive(LoopObject *self, PyObject *nothing)
{
    (void)nothing;
    struct desk *desk = take_desk(self);
    if (desk == NULL)
        return NULL;
    desk->is_trial = false;
    desk->thread = (int)syscall(SYS_gettid);
    enum outcome outcome;
    int error;
    Py_BEGIN_ALLOW_THREADS
    outcome = serve(&self->loop, desk, &error);
    Py_END_ALLOW_THREADS
    PyObject *result;
    if (outcome == ADOPTED)
        result = PyBytes_FromStringAndSize(NULL, 0);
    else if (error == 0)
        result = PyBytes_FromStringAndSize(desk->request, (Py_ssize_t)desk->length);
    else if (error == ENODEV || error == ECONNABORTED)
        result = Py_NewRef(Py_None);
    else {
        errno = error;
        result = PyErr_SetFromErrno(PyExc_OSError);
    }
    give_desk(self, desk);
    return result;
}

/* ---- what Python asks for ------------------------------------------------------------------------------------- */

static PyObject *
loop_answer(LoopObject *self, PyObject *request)
{
    char *data;
    Py_ssize_t length;
    if (PyBytes_AsStringAndSize(request, &data, &length) < 0)
        return NULL;
    if (length > REQUEST_ROOM)
        Py_RETURN_NONE;
    struct desk *desk = take_desk(self);
    if (desk == NULL)
        return NULL;
    desk->is_trial = true;
    desk->length = (size_t)length;
    memcpy(desk->request, data, desk->length);
    enum outcome outcome;
    Py_BEGIN_ALLOW_THREADS
    outcome = answer(&self->loop, desk);
    Py_END_ALLOW_THREADS
    PyObject *result = outcome == ANSWERED
                           ? PyBytes_FromStringAndSize(desk->answer, (Py_ssize_t)desk->answer_length)
                           : Py_NewRef(Py_None);
    give_desk(self, desk);
    return result;
}

static PyObject *
loop_watch(LoopObject *self, PyObject *args)
{
    long long moment_ns;
    if (!PyArg_ParseTuple(args, "L", &moment_ns))
        return NULL;
    bool found;
    uint64_t call;
    int thread;
    Py_BEGIN_ALLOW_THREADS
    found = slot_watch(&self->loop.slot, moment_ns, &call, &thread);
    Py_END_ALLOW_THREADS
    return found ? Py_BuildValue("Ki", (unsigned long long)call, thread) : Py_NewRef(Py_None);
}

static PyObject *
loop_end_watch(LoopObject *self, PyObject *nothing)
{
    (void)nothing;
    atomic_store(&self->loop.slot.has_ended, true);
    sem_post(&self->loop.slot.wanted);
    Py_RETURN_NONE;
}

static PyObject *
loop_adopt(LoopObject *self, PyObject *args)
{
    struct slot *slot = &self->loop.slot;
    unsigned long long call;
    if (!PyArg_ParseTuple(args, "K", &call))
        return NULL;
    if (!slot_adopt(slot, call))
        Py_RETURN_NONE;
    /* The thread that lost it needs the interpreter to go on, so that its buffer stays until this returns. */
    int64_t since_ns = atomic_load_explicit(&slot->since_ns, memory_order_relaxed);
    return Py_BuildValue("y#d", slot->request, (Py_ssize_t)slot->length, (double)since_ns / 1e9);
}

static PyObject *
loop_allow_calls(LoopObject *self, PyObject *args)
{
    int allowed;
    if (!PyArg_ParseTuple(args, "p", &allowed))
        return NULL;
    atomic_store(&self->loop.slot.is_open, allowed);
    Py_RETURN_NONE;
}

static PyObject *
loop_allow_opens(LoopObject *self, PyObject *args)
{
    int allowed;
    if (!PyArg_ParseTuple(args, "p", &allowed))
        return NULL;
    atomic_store(&self->loop.opens, allowed);
    Py_RETURN_NONE;
}

static PyObject *
loop_open_backing(LoopObject *self, PyObject *args)
{
    unsigned long long inode;
    struct open_file file;
    if (!PyArg_ParseTuple(args, "Ki", &inode, &file.fd))
        return NULL;
    file.inode = inode;
    int32_t id = 0;
    int error;
    Py_BEGIN_ALLOW_THREADS
    error = stat_regular(file.fd, &file.facts); /* asks the raw store, which can hang */
    if (error == 0)
        error = backings_open(&self->loop.backings, &file, true, &id);
    Py_END_ALLOW_THREADS
    return Py_BuildValue("ii", error, id);
}

static PyObject *
loop_close_backing(LoopObject *self, PyObject *args)
{
    unsigned long long inode;
    if (!PyArg_ParseTuple(args, "K", &inode))
        return NULL;
    backings_close(&self->loop.backings, inode);
    Py_RETURN_NONE;
}

static PyObject *
loop_let_go(LoopObject *self, PyObject *nothing)
{
    (void)nothing;
    int error;
    Py_BEGIN_ALLOW_THREADS
    error = backings_let_go(&self->loop.backings);
    Py_END_ALLOW_THREADS
    return PyLong_FromLong(error);
}

static PyObject *
loop_note_end(LoopObject *self, PyObject *args)
{
    unsigned long long inode, position;
    if (!PyArg_ParseTuple(args, "KK", &inode, &position))
        return NULL;
    ends_note(&self->loop.ends, inode, position);
    Py_RETURN_NONE;
}

static PyObject *
loop_take_handle(LoopObject *self, PyObject *args)
{
    unsigned long long number;
    struct open_file file;
    if (!PyArg_ParseTuple(args, "K", &number))
        return NULL;
    if (!handles_take(&self->loop.handles, number, &file))
        Py_RETURN_NONE;
    return Py_BuildValue("KiLLL", (unsigned long long)file.inode, file.fd, (long long)file.facts.size,
                         (long long)file.facts.mtime_ns, (long long)file.facts.file);
}

static PyObject *
loop_set_other_files(LoopObject *self, PyObject *args)
{
    unsigned int others;
    if (!PyArg_ParseTuple(args, "I", &others))
        return NULL;
    handles_set_others(&self->loop.handles, others);
    Py_RETURN_NONE;
}

static PyObject *
loop_open_files(LoopObject *self, PyObject *nothing)
{
    (void)nothing;
    return PyLong_FromUnsignedLong(handles_count(&self->loop.handles));
}

static PyObject *
loop_passed_files(LoopObject *self, PyObject *nothing)
{
    (void)nothing;
    return PyLong_FromLongLong(atomic_load(&self->loop.passed));
}

static PyObject *
loop_close_dropped(LoopObject *self, PyObject *nothing)
{
    (void)nothing;
    int fd;
    while ((fd = handles_take_dropped(&self->loop.handles)) >= 0) {
        Py_BEGIN_ALLOW_THREADS
        close(fd);
        Py_END_ALLOW_THREADS
    }
    Py_RETURN_NONE;
}

static PyObject *
loop_pushed(LoopObject *self, PyObject *nothing)
{
    (void)nothing;
    return Py_BuildValue("LL", (long long)atomic_load(&self->loop.pushed_files),
                         (long long)atomic_load(&self->loop.pushed_bytes));
}

static PyObject *
loop_counts(LoopObject *self, PyObject *nothing)
{
    (void)nothing;
    struct counts *counts = &self->loop.counts;
    PyObject *found = PyDict_New();
    for (int operation = 0; found != NULL && operation < OPERATIONS; operation++) {
        PyObject *list = PyList_New(0), *opcode = PyLong_FromUnsignedLong(operation_opcodes[operation]);
        bool failed = list == NULL || opcode == NULL;
        for (int at = 0; !failed && at < counts->bounds + 3; at++) {
            PyObject *count = PyLong_FromLongLong(atomic_load(&counts->counts[operation][at]));
            failed = count == NULL || PyList_Append(list, count) < 0;
            Py_XDECREF(count);
        }
        if (failed || PyDict_SetItem(found, opcode, list) < 0)
            Py_CLEAR(found);
        Py_XDECREF(list);
        Py_XDECREF(opcode);
    }
    return found;
}

static PyMethodDef methods[] = {
    {"receive", (PyCFunction)loop_receive, METH_NOARGS, "Return a request for Python, b'' if one was adopted."},
    {"answer", (PyCFunction)loop_answer, METH_O, "Return the answer to a request, or None if it is Python's."},
    {"watch", (PyCFunction)loop_watch, METH_VARARGS, "Wait for a call that takes long; None at the end."},
    {"end_watch", (PyCFunction)loop_end_watch, METH_NOARGS, "Make `watch` return None."},
    {"adopt", (PyCFunction)loop_adopt, METH_VARARGS, "Take the request of a call; None if it is over."},
    {"allow_calls", (PyCFunction)loop_allow_calls, METH_VARARGS, "Choose whether the raw store is asked here."},
    {"allow_opens", (PyCFunction)loop_allow_opens, METH_VARARGS, "Choose whether files are opened here."},
    {"open_backing", (PyCFunction)loop_open_backing, METH_VARARGS, "Count an open of a file the kernel reads."},
    {"close_backing", (PyCFunction)loop_close_backing, METH_VARARGS, "Count a close of one."},
    {"let_go", (PyCFunction)loop_let_go, METH_NOARGS, "Let go of what is no longer open; may block."},
    {"note_end", (PyCFunction)loop_note_end, METH_VARARGS, "Note where a directory's listing ended."},
    {"take_handle", (PyCFunction)loop_take_handle, METH_VARARGS, "Return an open file, which is Python's then."},
    {"set_other_files", (PyCFunction)loop_set_other_files, METH_VARARGS, "Tell how many files Python has open."},
    {"open_files", (PyCFunction)loop_open_files, METH_NOARGS, "Return how many files are open here."},
    {"passed_files", (PyCFunction)loop_passed_files, METH_NOARGS, "Return how many the kernel reads by itself."},
    {"close_dropped", (PyCFunction)loop_close_dropped, METH_NOARGS, "Close what nobody learnt of; may block."},
    {"pushed", (PyCFunction)loop_pushed, METH_NOARGS, "Return how many files and bytes were pushed."},
    {"counts", (PyCFunction)loop_counts, METH_NOARGS, "Return counts and durations by opcode."},
    {NULL, NULL, 0, NULL},
};

/* ---- the type ------------------------------------------------------------------------------------------------- */

static bool
set_bounds(struct counts *counts, PyObject *bounds)
{
    Py_ssize_t length = PyTuple_Size(bounds);
    if (length < 0 || length > MAX_BOUNDS) {
        PyErr_SetString(PyExc_ValueError, "too many bounds");
        return false;
    }
    counts->bounds = (int)length;
    for (Py_ssize_t at = 0; at < length; at++)
        counts->bounds_ns[at] = PyLong_AsLongLong(PyTuple_GetItem(bounds, at));
    return !PyErr_Occurred();
}

static PyObject *
loop_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"fd",        "rows",        "root",         "attributes", "max_files",
                            "bounds_ns", "passed_from", "pushed_below", NULL};
    int fd;
    long long pushed_below;
    unsigned int max_files;
    PyObject *rows, *bounds;
    const char *root, *attributes;
    Py_ssize_t length;
    long long passed_from;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "iOyy#IO!LL", names, &fd, &rows, &root, &attributes, &length,
                                     &max_files, &PyTuple_Type, &bounds, &passed_from, &pushed_below))
        return NULL;
    PyObject *module = PyType_GetModule(type);
    RowsObject *table = module != NULL ? rows_from(module, rows) : NULL;
    if (table == NULL)
        return NULL;
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    LoopObject *self = (LoopObject *)allocate(type, 0);
    if (self == NULL)
        return NULL;
    struct loop *loop = &self->loop;
    loop->fd = fd;
    loop->pushed_below = pushed_below;
    loop->rows = table;
    self->rows = Py_NewRef(rows);
    /* Without a name a lock cannot fail to be made (pthread_mutex_init(3p)); a semaphore neither. */
    handles_begin(&loop->handles, max_files);
    backings_begin(&loop->backings, fd);
    loop->passed_from = passed_from;
    slot_begin(&loop->slot);
    pthread_mutex_init(&loop->ends.mutex, NULL);
    pthread_mutex_init(&self->mutex, NULL);
    loop->root = strdup(root);
    if (loop->root == NULL)
        PyErr_NoMemory();
    else if (length != sizeof loop->attributes)
        PyErr_SetString(PyExc_ValueError, "attributes of another size");
    else if (set_bounds(&loop->counts, bounds)) {
        memcpy(loop->attributes, attributes, sizeof loop->attributes);
        return (PyObject *)self;
    }
    Py_DECREF(self);
    return NULL;
}

static void
loop_dealloc(LoopObject *self)
{
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    struct loop *loop = &self->loop;
    for (struct desk *desk = self->desks; desk != NULL;) {
        struct desk *next = desk->next;
        free(desk);
        desk = next;
    }
    free(loop->root);
    handles_end(&loop->handles);
    backings_end(&loop->backings);
    slot_end(&loop->slot);
    pthread_mutex_destroy(&loop->ends.mutex);
    pthread_mutex_destroy(&self->mutex);
    Py_XDECREF(self->rows);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyType_Slot slots[] = {
    {Py_tp_doc, "Answers requests of one connection as far as rows and handles say all that it takes."},
    {Py_tp_new, loop_new},
    {Py_tp_dealloc, loop_dealloc},
    {Py_tp_methods, methods},
    {0, NULL},
};

static PyType_Spec spec = {
    .name = "readyfs._native.Loop",
    .basicsize = sizeof(LoopObject),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = slots,
};

int
add_loop(PyObject *module)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &spec, NULL);
    int result = type != NULL ? PyModule_AddObjectRef(module, "Loop", type) : -1;
    Py_XDECREF(type);
    return result;
}
