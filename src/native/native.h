/* What the parts of the compiled module share. */

#ifndef READYFS_NATIVE_H
#define READYFS_NATIVE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

/* Each adds its types and functions to the module; -1 with an exception set if that fails. */
int add_rows(PyObject *module);
int add_look(PyObject *module);
int add_pack(PyObject *module);
int add_loop(PyObject *module);

/* ---- look.c: beneath the raw root, without the interpreter ---- */

/* How raw files are opened: without O_NONBLOCK a fifo in place of one would hold the open for ever. */
#define RAW_FILE_FLAGS (O_RDONLY | O_NONBLOCK | O_CLOEXEC)

/* Stands where an errno does. */
#define NOT_REGULAR (-1)

/* RawStat of readyfs/raw/store.py. */
struct file_facts {
    int64_t size;
    int64_t mtime_ns;
    int64_t file;
};

/* Open a path beneath a root, which is opened afresh; no link is followed (V12). Returns a descriptor, or an errno
   as a negative number. The path is joined of single names; "." means the root. */
int open_beneath_root(const char *root, const char *path, int flags);

/* Look at an open file; returns 0, NOT_REGULAR or an errno: EOVERFLOW for a time that 64 bits do not hold. */
int stat_regular(int fd, struct file_facts *out);

/* ---- rows.c: the inode table's rows ---- */

typedef struct RowsObject RowsObject;

enum {
    FILE_PATH_ROOM = 4096, /* PATH_MAX of Linux, which counts the NUL */
    FILE_INTEGERS = 5,
    FILE_REFERENCES = 2,

    /* The bits of `state`; see vfs/packed_raw.py. */
    STATE_REGULAR = 1,
    STATE_SUPERSEDED = 2,
    STATE_SERVABLE = 4, /* the loop may open and read it */
    STATE_PUSHED = 16,  /* the kernel was given its bytes */
};

/* What a row of a raw node says, which begins with these columns: five integers, and as references
   the path of the run's directory and that of the file in it, which are joined here. */
struct file_row {
    int64_t size, mtime_ns, file, shown_ns, state;
    char path[FILE_PATH_ROOM]; /* relative to the raw root */
};

/* Return an object that is `Rows` as such, borrowed; NULL with an exception set if it is not. */
RowsObject *rows_from(PyObject *module, PyObject *object);

/* Copy a row; false if it is not there, or its path is not known or too long. Needs no interpreter,
   only that somebody keeps the table alive. */
bool rows_copy_file(RowsObject *rows, uint64_t inode, struct file_row *out);

/* Set STATE_PUSHED in a row, if it is there. It may get lost to a change that Python makes at the same time. */
void rows_note_pushed(RowsObject *rows, uint64_t inode);

#endif
