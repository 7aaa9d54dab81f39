/* What the parts of the native loop share: open files, the slot of a call, a request on its way to its answer. */

#ifndef READYFS_LOOP_H
#define READYFS_LOOP_H

#include "native.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stddef.h>

/* ---- handles.c: files that were opened here ------------------------------------------------------------------ */

/* Set in the number of each of these handles and in none of Python's (vfs/handles.py). */
#define NATIVE_HANDLE (UINT64_C(1) << 62)

/* An open raw file, with what it was found to be when it was opened: what its row says, too. */
struct open_file {
    uint64_t inode;
    struct file_facts facts;
    int fd;
};

struct handles {
    pthread_mutex_t mutex;
    struct place *places;
    uint32_t room, used;
    uint32_t free, dropped; /* the first of a chain of places, its index plus one */
    uint32_t serial;
    uint32_t limit, others; /* how many files may be open, and how many Python has open */
};

bool handles_begin(struct handles *handles, uint32_t limit);
void handles_end(struct handles *handles);
void handles_set_others(struct handles *handles, uint32_t others);
uint32_t handles_count(struct handles *handles);

/* Keep an open file; returns its number, or 0 if as many are open as may be. */
uint64_t handles_add(struct handles *handles, const struct open_file *file);

/* Find an open file, and take it out: who took it closes it. */
bool handles_get(struct handles *handles, uint64_t number, struct open_file *out);
bool handles_take(struct handles *handles, uint64_t number, struct open_file *out);

/* Give up a file whose number nobody learnt; `handles_take_dropped` returns one of them, or -1. */
void handles_drop(struct handles *handles, uint64_t number);
int handles_take_dropped(struct handles *handles);

/* ---- backing.c: raw files that the kernel reads by itself ------------------------------------------------------- */

/* The number of every such file that was opened here: its inode says all that is to be known. */
#define PASSED_HANDLE (UINT64_C(1) << 61)

enum { BACKINGS = 1024 };

struct backings {
    pthread_mutex_t mutex;
    int fd; /* the connection */
    struct backing *of[BACKINGS], *closed;
};

void backings_begin(struct backings *backings, int fd);
void backings_end(struct backings *backings);

/* Count an open of an inode and return its id; 0 if the kernel has refused the file, and Python reads it. Returns why
   it does so now, or EEXIST, uncounted, if another raw file is open. What is refused is counted if it is kept. */
int backings_open(struct backings *backings, const struct open_file *file, bool keep_refused, int32_t *id);
bool backings_close(struct backings *backings, uint64_t inode);

/* Let go of what is no longer open; can wait. Returns why the kernel kept one. */
int backings_let_go(struct backings *backings);

/* ---- slot.c: the call to the raw store that is under way ------------------------------------------------------ */

struct slot {
    _Atomic uint64_t word;
    _Atomic uint64_t calls;
    _Atomic int64_t since_ns;
    _Atomic int thread;
    const char *request; /* written while claimed, read by who adopted */
    size_t length;
    _Atomic bool is_open;
    _Atomic bool watch_sleeps;
    _Atomic bool has_ended;
    sem_t wanted;
};

/* For whom a call is made: a request, since when, and the thread that has it. */
struct caller {
    const char *request;
    size_t length;
    int64_t since_ns;
    int thread;
};

enum outcome {
    ANSWERED,   /* the answer is made; of a call: go on */
    FOR_PYTHON, /* the request is Python's, as it came */
    ADOPTED,    /* somebody else has the request by now: undo, and say so */
};

bool slot_begin(struct slot *slot);
void slot_end(struct slot *slot);

/* Hold the slot for a call: ANSWERED if it may be made, and its number. */
enum outcome slot_hold(struct slot *slot, const struct caller *caller, uint64_t *call);

/* Let go of the slot: ANSWERED, or ADOPTED if the request was taken meanwhile. */
enum outcome slot_free(struct slot *slot, uint64_t call);

/* Whether a call is held still, so that nobody else has answered its request. */
bool slot_is_held(const struct slot *slot, uint64_t call);

/* Take the request of a call that is held (0: of any); false if it is not held any more. */
bool slot_adopt(struct slot *slot, uint64_t call);

/* Wait until a call was held for that long; false once the slot is of no more use. */
bool slot_watch(struct slot *slot, int64_t moment_ns, uint64_t *call, int *thread);

/* ---- answers.c: from a request to its answer ------------------------------------------------------------------ */

enum {
    REQUEST_ROOM = 8192, /* FUSE_MIN_READ_BUFFER: no request of a mount that nobody writes to is longer */
    READ_ROOM = 128 * 1024,
    ANSWER_ROOM = 16 + READ_ROOM, /* with its header */
    ENDS = 4096,
    MAX_BOUNDS = 16,
};

/* Operations that are answered here, by their places in the counts. */
enum operation { GETATTR, OPEN, READ, RELEASE, IOCTL, READDIRPLUS, OPERATIONS };

extern const uint32_t operation_opcodes[OPERATIONS];

/* Counts as `Durations` of readyfs/metrics has them: buckets, then how many began, then nanoseconds. */
struct counts {
    int bounds;
    int64_t bounds_ns[MAX_BOUNDS];
    _Atomic int64_t counts[OPERATIONS][MAX_BOUNDS + 3];
};

/* Where the last pass over a directory ended; one of two that share a place is forgotten. */
struct ends {
    pthread_mutex_t mutex;
    struct {
        uint64_t inode, position;
    } of[ENDS];
};

struct loop {
    int fd;
    char *root;
    RowsObject *rows;
    char attributes[104]; /* struct fuse_attr_out of any file: all but inode, size and times is the same */
    _Atomic bool opens; /* whether files are opened here */
    int64_t passed_from; /* files of so many bytes and more the kernel reads by itself */
    _Atomic int64_t passed; /* how many such are open */
    struct backings backings;
    int64_t pushed_below; /* files of fewer bytes are pushed with their first open; 0: none is */
    _Atomic int64_t pushed_files, pushed_bytes;
    struct handles handles;
    struct slot slot;
    struct ends ends;
    struct counts counts;
};

/* One request and its answer. A trial holds no slot: who asks for it waits for itself. */
struct desk {
    struct desk *next;
    bool is_trial;
    enum operation operation;
    size_t length, answer_length;
    int64_t began_ns;
    int thread;
    uint64_t call;   /* to the raw store, by its number */
    uint64_t opened; /* the handle that the answer gives */
    struct file_row row;
    _Alignas(8) char request[REQUEST_ROOM];
    _Alignas(8) char answer[ANSWER_ROOM];
};

/* ---- push.c: bytes that come with an open --------------------------------------------------------------------- */

/* Give the kernel the bytes of a small file that is being opened, if it was not given them before. Returns false if
   they are not what the row says, if it does not take them, or if its open has another owner by now. */
bool push_once(struct loop *loop, struct desk *desk, const struct open_file *file);

int64_t now_ns(void);
enum outcome answer(struct loop *loop, struct desk *desk);
void open_undo(struct loop *loop, const struct desk *desk, bool may_wait);
void ends_note(struct ends *ends, uint64_t inode, uint64_t position);
void count_begun(struct counts *counts, enum operation operation, int change);
void count_elapsed(struct counts *counts, enum operation operation, int64_t elapsed_ns);

#endif
