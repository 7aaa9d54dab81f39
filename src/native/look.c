/* Looks beneath the raw root: a directory listed with its entries, or a file opened, each in one call.

   The same system calls in the same order as readyfs/raw/local.py makes them, with the interpreter released. What is
   found, or which call failed with which errno, is handed to Python, which judges it. */

#include "native.h"

#include <dirent.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* include/uapi/linux/openat2.h, which older headers lack; the number is that of every machine but alpha. */
#define CALL_OPENAT2 437
#define RESOLVE_BENEATH_WITHOUT_LINKS (0x02 | 0x04 | 0x08)

struct open_how_in {
    uint64_t flags;
    uint64_t mode;
    uint64_t resolve;
};

/* Which call it was that failed. */
enum step { ROOT, PATH, ENTRY, READABLE };

/* One entry of a directory; in memory it is followed by its name, and the next one begins at 8 bytes. */
struct found {
    struct file_facts facts;
    uint32_t bytes; /* of all of it */
    uint32_t name_bytes;
    bool is_directory;
    char name[];
};

/* One look at a directory. */
struct look {
    int directory;
    const char **readable;
    size_t readable_count;
    char *found; /* records of struct found */
    size_t used;
    size_t room;
    enum step step;
    int code; /* 0, NOT_REGULAR or an errno: what came of it */
    const char *name; /* of the entry that failed */
    _Alignas(8) char records[16384]; /* as getdents64(2) gives them */
};

/* ---- opening ---- */

static int
open_path(int root, const char *path, int flags)
{
    struct open_how_in how = {
        .flags = (uint64_t)(flags | O_CLOEXEC),
        .resolve = RESOLVE_BENEATH_WITHOUT_LINKS,
    };
    long fd;
    do
        fd = syscall(CALL_OPENAT2, root, path, &how, sizeof how);
    while (fd < 0 && errno == EINTR);
    return fd < 0 ? -errno : (int)fd;
}

static int
open_name(int directory, const char *name, int flags)
{
    int fd;
    do
        fd = openat(directory, name, flags | O_NOFOLLOW | O_CLOEXEC);
    while (fd < 0 && errno == EINTR);
    return fd < 0 ? -errno : fd;
}

/* Repeat an open that answers EAGAIN: a rename raced with openat2, or a lease on the file is being broken. */
static int
until_not_again(int (*attempt)(int, const char *, int), int directory, const char *path, int flags)
{
    int fd = attempt(directory, path, flags);
    for (long pause_ns = 500000; fd == -EAGAIN && pause_ns <= 128000000; pause_ns *= 2) {
        struct timespec pause = {.tv_nsec = pause_ns};
        nanosleep(&pause, NULL);
        fd = attempt(directory, path, flags);
    }
    return fd;
}

static int
open_root(const char *root)
{
    int fd;
    do
        fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    while (fd < 0 && errno == EINTR);
    return fd < 0 ? -errno : fd;
}

static int
open_at(const char *root, const char *path, int flags, enum step *step)
{
    *step = ROOT;
    int root_fd = open_root(root);
    if (root_fd < 0)
        return root_fd;
    *step = PATH;
    int fd = until_not_again(open_path, root_fd, path, flags);
    close(root_fd);
    return fd;
}

int
open_beneath_root(const char *root, const char *path, int flags)
{
    enum step step;
    return open_at(root, path, flags, &step);
}

/* ---- facts ---- */

/* No two files of one device have the same number, and those of two have it by accident alone. */
static int64_t
file_number(const struct stat *seen)
{
    return (int64_t)((uint64_t)seen->st_ino + (uint64_t)seen->st_dev * UINT64_C(0x9E3779B97F4A7C15));
}

static int
facts_of(const struct stat *seen, struct file_facts *out)
{
    int64_t time_ns;
    if (__builtin_mul_overflow((int64_t)seen->st_mtim.tv_sec, INT64_C(1000000000), &time_ns)
        || __builtin_add_overflow(time_ns, (int64_t)seen->st_mtim.tv_nsec, &time_ns))
        return EOVERFLOW;
    *out = (struct file_facts){
        .size = S_ISDIR(seen->st_mode) ? 0 : seen->st_size,
        .mtime_ns = time_ns,
        .file = file_number(seen),
    };
    return 0;
}

int
stat_regular(int fd, struct file_facts *out)
{
    struct stat seen;
    if (fstat(fd, &seen) < 0)
        return errno;
    return S_ISREG(seen.st_mode) ? facts_of(&seen, out) : NOT_REGULAR;
}

/* ---- a directory ---- */

static void
fail(struct look *look, enum step step, int code, const char *name)
{
    look->step = step;
    look->code = code;
    look->name = name;
}

static void
keep(struct look *look, const char *name, const struct file_facts *facts, bool is_directory)
{
    size_t name_bytes = strlen(name);
    size_t bytes = (offsetof(struct found, name) + name_bytes + 7) & ~(size_t)7;
    if (bytes > look->room - look->used) {
        size_t room = (look->room + bytes) * 2;
        char *moved = realloc(look->found, room);
        if (moved == NULL) {
            fail(look, PATH, ENOMEM, NULL);
            return;
        }
        look->found = moved;
        look->room = room;
    }
    struct found *found = (struct found *)(look->found + look->used);
    found->facts = *facts;
    found->bytes = (uint32_t)bytes;
    found->name_bytes = (uint32_t)name_bytes;
    found->is_directory = is_directory;
    memcpy(found->name, name, name_bytes);
    look->used += bytes;
}

static bool
must_be_readable(const struct look *look, const char *name)
{
    for (size_t index = 0; index < look->readable_count; index++)
        if (strcmp(look->readable[index], name) == 0)
            return true;
    return false;
}

/* Open a listed file; a single name with O_NOFOLLOW cannot lead anywhere else. */
static void
look_inside(struct look *look, const char *name)
{
    struct file_facts facts;
    int fd = until_not_again(open_name, look->directory, name, RAW_FILE_FLAGS);
    int code = fd < 0 ? -fd : stat_regular(fd, &facts);
    if (fd >= 0)
        close(fd);
    if (code != 0)
        fail(look, READABLE, code, name);
    else
        keep(look, name, &facts, false);
}

static void
look_at(struct look *look, const char *name, unsigned char type)
{
    bool opens = must_be_readable(look, name);
    struct stat seen = {.st_mode = S_IFREG};
    struct file_facts facts;
    /* The directory itself says which kind most entries have: one that is opened need not be looked at before. */
    if (!opens || type != DT_REG) {
        if (fstatat(look->directory, name, &seen, AT_SYMLINK_NOFOLLOW) < 0) {
            if (errno != ENOENT)
                fail(look, ENTRY, errno, name);
            return;
        }
        opens = opens && type == DT_UNKNOWN && S_ISREG(seen.st_mode);
    }
    if (opens)
        look_inside(look, name);
    else if (S_ISREG(seen.st_mode) || S_ISDIR(seen.st_mode)) {
        int code = facts_of(&seen, &facts);
        if (code != 0)
            fail(look, ENTRY, code, name);
        else
            keep(look, name, &facts, S_ISDIR(seen.st_mode));
    }
}

static void
list(struct look *look)
{
    while (look->code == 0) {
        long got = syscall(SYS_getdents64, look->directory, look->records, sizeof look->records);
        if (got < 0)
            fail(look, PATH, errno, NULL);
        if (got <= 0)
            return;
        for (long at = 0; at < got && look->code == 0;) {
            const struct dirent64 *record = (const struct dirent64 *)(look->records + at);
            const size_t before_name = offsetof(struct dirent64, d_name);
            size_t left = (size_t)(got - at);
            if (left <= before_name || record->d_reclen <= before_name || record->d_reclen > left
                || memchr(record->d_name, '\0', record->d_reclen - before_name) == NULL) {
                fail(look, PATH, EIO, NULL);
                return;
            }
            if (strcmp(record->d_name, ".") != 0 && strcmp(record->d_name, "..") != 0)
                look_at(look, record->d_name, record->d_type);
            at += record->d_reclen;
        }
    }
}

/* ---- what Python calls ---- */

static PyObject *
failure(enum step step, int code, const char *name)
{
    return Py_BuildValue("(iiy)", (int)step, code, name != NULL ? name : "");
}

static PyObject *
entry_of(const struct found *found)
{
    return Py_BuildValue(
        "(y#OLLL)", found->name, (Py_ssize_t)found->name_bytes, found->is_directory ? Py_True : Py_False,
        (long long)found->facts.size, (long long)found->facts.mtime_ns, (long long)found->facts.file
    );
}

static PyObject *
entries_of(const struct look *look)
{
    PyObject *entries = PyList_New(0);
    for (size_t at = 0; entries != NULL && at < look->used;) {
        const struct found *found = (const struct found *)(look->found + at);
        PyObject *entry = entry_of(found);
        if (entry == NULL || PyList_Append(entries, entry) < 0)
            Py_CLEAR(entries);
        Py_XDECREF(entry);
        at += found->bytes;
    }
    return entries;
}

static int
take_readable(struct look *look, PyObject *names)
{
    Py_ssize_t count = PyTuple_Size(names);
    look->readable = PyMem_Malloc((size_t)(count > 0 ? count : 1) * sizeof *look->readable);
    if (look->readable == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t index = 0; index < count; index++) {
        char *name;
        if (PyBytes_AsStringAndSize(PyTuple_GetItem(names, index), &name, NULL) < 0)
            return -1;
        look->readable[look->readable_count++] = name;
    }
    return 0;
}

static PyObject *
look_in_directory(PyObject *module, PyObject *arguments)
{
    (void)module;
    const char *root, *path;
    PyObject *names;
    if (!PyArg_ParseTuple(arguments, "yyO!", &root, &path, &PyTuple_Type, &names))
        return NULL;
    struct look look;
    memset(&look, 0, offsetof(struct look, records));
    PyObject *answer = NULL;
    if (take_readable(&look, names) == 0) {
        Py_BEGIN_ALLOW_THREADS
        look.directory = open_at(root, path, RAW_FILE_FLAGS | O_DIRECTORY, &look.step);
        if (look.directory < 0)
            look.code = -look.directory;
        else {
            list(&look);
            close(look.directory);
        }
        Py_END_ALLOW_THREADS
        answer = look.code != 0 ? failure(look.step, look.code, look.name) : entries_of(&look);
    }
    PyMem_Free(look.readable);
    free(look.found);
    return answer;
}

static PyObject *
open_regular(PyObject *module, PyObject *arguments)
{
    (void)module;
    const char *root, *path;
    if (!PyArg_ParseTuple(arguments, "yy", &root, &path))
        return NULL;
    int fd, code;
    enum step step;
    struct file_facts facts;
    Py_BEGIN_ALLOW_THREADS
    fd = open_at(root, path, RAW_FILE_FLAGS, &step);
    code = fd < 0 ? -fd : stat_regular(fd, &facts);
    if (fd >= 0 && code != 0) {
        step = ENTRY;
        close(fd);
    }
    Py_END_ALLOW_THREADS
    if (code != 0)
        return failure(step, code, NULL);
    PyObject *answer = Py_BuildValue(
        "(iLLL)", fd, (long long)facts.size, (long long)facts.mtime_ns, (long long)facts.file
    );
    if (answer == NULL)
        close(fd);
    return answer;
}

static PyMethodDef methods[] = {
    {"look", look_in_directory, METH_VARARGS, "List a directory beneath a root, and look at its entries."},
    {"open_regular", open_regular, METH_VARARGS, "Open a regular file beneath a root, and look at it."},
    {NULL, NULL, 0, NULL},
};

int
add_look(PyObject *module)
{
    if (PyModule_AddIntConstant(module, "AT_ROOT", ROOT) < 0 || PyModule_AddIntConstant(module, "AT_PATH", PATH) < 0
        || PyModule_AddIntConstant(module, "AT_ENTRY", ENTRY) < 0
        || PyModule_AddIntConstant(module, "AT_READABLE", READABLE) < 0
        || PyModule_AddIntConstant(module, "NOT_REGULAR", NOT_REGULAR) < 0)
        return -1;
    return PyModule_AddFunctions(module, methods);
}
