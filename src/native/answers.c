/* From a request to its answer, where a row or a handle says all that it takes; every other request is Python's.

   What a name means, what is broken and which errno says so is decided in readyfs/vfs alone: whatever is not exactly
   as its row says goes there as it came. The structures are those of linux/fuse.h. */

#include "loop.h"

#include <errno.h>
#include <linux/fuse.h>
#include <string.h>
#include <unistd.h>

const uint32_t operation_opcodes[OPERATIONS] = {
    [GETATTR] = FUSE_GETATTR, [OPEN] = FUSE_OPEN,   [READ] = FUSE_READ,
    [RELEASE] = FUSE_RELEASE, [IOCTL] = FUSE_IOCTL, [READDIRPLUS] = FUSE_READDIRPLUS,
};

_Static_assert(sizeof(struct fuse_out_header) == ANSWER_ROOM - READ_ROOM, "the room of a header");
_Static_assert(sizeof(struct fuse_attr_out) == sizeof(((struct loop *)0)->attributes), "the room of attributes");

/* Of linux/fuse.h since Linux 6.9; older headers lack it. The registration stands where they have padding. */
#define OPEN_PASSTHROUGH (1 << 7)

static const struct fuse_in_header *
header(const struct desk *desk)
{
    return (const void *)desk->request;
}

/* Return what follows a request's header, NULL if it is shorter than that. */
static const void *
body(const struct desk *desk, size_t size)
{
    return desk->length >= sizeof(struct fuse_in_header) + size ? desk->request + sizeof(struct fuse_in_header) : NULL;
}

static void *
answer_body(struct desk *desk)
{
    return desk->answer + sizeof(struct fuse_out_header);
}

static enum outcome
finish(struct desk *desk, size_t size, int error)
{
    struct fuse_out_header out = {
        .len = (uint32_t)(sizeof out + size), .error = -error, .unique = header(desk)->unique};
    memcpy(desk->answer, &out, sizeof out);
    desk->answer_length = out.len;
    return ANSWERED;
}

/* ---- calls to the raw store ------------------------------------------------------------------------------------- */

static enum outcome
begin_call(struct loop *loop, struct desk *desk)
{
    const struct caller caller = {desk->request, desk->length, desk->began_ns, desk->thread};
    return desk->is_trial ? ANSWERED : slot_hold(&loop->slot, &caller, &desk->call);
}

static enum outcome
end_call(struct loop *loop, const struct desk *desk)
{
    return desk->is_trial ? ANSWERED : slot_free(&loop->slot, desk->call);
}

/* ---- the operations ------------------------------------------------------------------------------------------- */

static bool
find_file(struct loop *loop, struct desk *desk)
{
    return rows_copy_file(loop->rows, header(desk)->nodeid, &desk->row) && (desk->row.state & STATE_REGULAR);
}

static enum outcome
answer_getattr(struct loop *loop, struct desk *desk)
{
    if (!find_file(loop, desk))
        return FOR_PYTHON;
    struct fuse_attr_out out;
    memcpy(&out, loop->attributes, sizeof out);
    uint64_t shown_ns = desk->row.shown_ns > 0 ? (uint64_t)desk->row.shown_ns : 0;
    out.attr.ino = header(desk)->nodeid;
    out.attr.size = (uint64_t)desk->row.size;
    out.attr.blocks = (out.attr.size + 511) / 512;
    out.attr.atime = out.attr.mtime = out.attr.ctime = shown_ns / 1000000000;
    out.attr.atimensec = out.attr.mtimensec = out.attr.ctimensec = (uint32_t)(shown_ns % 1000000000);
    memcpy(answer_body(desk), &out, sizeof out);
    return finish(desk, sizeof out, 0);
}

/* Have the kernel read an open file by itself; returns a handle or 0. */
static uint64_t
pass_through(struct loop *loop, const struct open_file *file, int32_t *backing_id)
{
    if (backings_open(&loop->backings, file, false, backing_id) != 0)
        return 0;
    atomic_fetch_add(&loop->passed, 1);
    return PASSED_HANDLE;
}

static bool
close_passed(struct loop *loop, uint64_t inode)
{
    bool was_open = backings_close(&loop->backings, inode);
    if (was_open)
        atomic_fetch_sub(&loop->passed, 1);
    return was_open;
}

/* Take back an open whose handle nobody learnt; a close can wait, and is left to Python where that may not be. */
void
open_undo(struct loop *loop, const struct desk *desk, bool may_wait)
{
    struct open_file file;
    if (desk->opened == PASSED_HANDLE)
        close_passed(loop, header(desk)->nodeid);
    else if (!may_wait)
        handles_drop(&loop->handles, desk->opened);
    else if (handles_take(&loop->handles, desk->opened, &file))
        close(file.fd);
}

/* Open the file of a row if it is exactly what the row says; returns a handle or 0. */
static uint64_t
open_as_sealed(struct loop *loop, struct desk *desk, int32_t *backing_id)
{
    const struct file_row *row = &desk->row;
    struct open_file file = {.inode = header(desk)->nodeid};
    file.fd = open_beneath_root(loop->root, row->path, RAW_FILE_FLAGS);
    if (file.fd < 0)
        return 0;
    bool as_sealed = stat_regular(file.fd, &file.facts) == 0 && file.facts.size == row->size &&
                     file.facts.mtime_ns == row->mtime_ns && file.facts.file == row->file;
    bool is_passed = row->size >= loop->passed_from;
    uint64_t number = 0;
    if (as_sealed && is_passed)
        number = pass_through(loop, &file, backing_id);
    else if (as_sealed && push_once(loop, desk, &file))
        number = handles_add(&loop->handles, &file);
    if (number == 0 || is_passed)
        close(file.fd);
    return number;
}

static enum outcome
answer_open(struct loop *loop, struct desk *desk)
{
    const struct fuse_open_in *in = body(desk, sizeof *in);
    if (in == NULL || (in->flags & O_ACCMODE) != O_RDONLY || !find_file(loop, desk))
        return FOR_PYTHON;
    const struct file_row *row = &desk->row;
    bool is_served = (row->state & STATE_SERVABLE) && !(row->state & STATE_SUPERSEDED);
    if (!is_served || !atomic_load(&loop->opens))
        return FOR_PYTHON;
    enum outcome outcome = begin_call(loop, desk);
    if (outcome != ANSWERED)
        return outcome;
    int32_t backing_id = 0;
    desk->opened = open_as_sealed(loop, desk, &backing_id);
    if (end_call(loop, desk) == ADOPTED) {
        open_undo(loop, desk, true);
        return ADOPTED;
    }
    if (desk->opened == 0)
        return FOR_PYTHON;
    struct fuse_open_out out = {.fh = desk->opened, .open_flags = FOPEN_KEEP_CACHE};
    if (desk->opened == PASSED_HANDLE) {
        out.open_flags = OPEN_PASSTHROUGH;
        memcpy(&out.padding, &backing_id, sizeof backing_id);
    }
    memcpy(answer_body(desk), &out, sizeof out);
    return finish(desk, sizeof out, 0);
}

static enum outcome
answer_read(struct loop *loop, struct desk *desk)
{
    const struct fuse_read_in *in = body(desk, sizeof *in);
    struct open_file file;
    if (in == NULL || !handles_get(&loop->handles, in->fh, &file))
        return FOR_PYTHON;
    uint64_t left = in->offset < (uint64_t)file.facts.size ? (uint64_t)file.facts.size - in->offset : 0;
    size_t wanted = in->size < left ? in->size : (size_t)left;
    if (wanted == 0)
        return finish(desk, 0, 0);
    if (wanted > READ_ROOM)
        return FOR_PYTHON;
    enum outcome outcome = begin_call(loop, desk);
    if (outcome != ANSWERED)
        return outcome;
    ssize_t got = pread(file.fd, answer_body(desk), wanted, (off_t)in->offset);
    if (end_call(loop, desk) == ADOPTED)
        return ADOPTED;
    /* What is short or failed Python reads once more, and says what that means. */
    return got == (ssize_t)wanted ? finish(desk, wanted, 0) : FOR_PYTHON;
}

static enum outcome
answer_release(struct loop *loop, struct desk *desk)
{
    const struct fuse_release_in *in = body(desk, sizeof *in);
    struct open_file file;
    if (in != NULL && in->fh == PASSED_HANDLE)
        return close_passed(loop, header(desk)->nodeid) ? finish(desk, 0, 0) : FOR_PYTHON;
    if (in == NULL || !handles_get(&loop->handles, in->fh, &file))
        return FOR_PYTHON;
    enum outcome outcome = begin_call(loop, desk);
    if (outcome != ANSWERED)
        return outcome;
    if (handles_take(&loop->handles, in->fh, &file))
        close(file.fd);
    /* If it was adopted Python finds no such handle, and answers. */
    return end_call(loop, desk) == ADOPTED ? ADOPTED : finish(desk, 0, 0);
}

/* The kernel asks once more behind the last entry of a listing, and learns that there is no more. */
static enum outcome
answer_readdirplus(struct loop *loop, struct desk *desk)
{
    const struct fuse_read_in *in = body(desk, sizeof *in);
    if (in == NULL)
        return FOR_PYTHON;
    uint64_t inode = header(desk)->nodeid;
    size_t at = inode % ENDS;
    bool is_end = false;
    pthread_mutex_lock(&loop->ends.mutex);
    if (loop->ends.of[at].inode == inode) {
        is_end = in->offset != 0 && loop->ends.of[at].position == in->offset;
        loop->ends.of[at].inode = 0;
    }
    pthread_mutex_unlock(&loop->ends.mutex);
    return is_end ? finish(desk, 0, 0) : FOR_PYTHON;
}

void
ends_note(struct ends *ends, uint64_t inode, uint64_t position)
{
    size_t at = inode % ENDS;
    pthread_mutex_lock(&ends->mutex);
    ends->of[at].inode = inode;
    ends->of[at].position = position;
    pthread_mutex_unlock(&ends->mutex);
}

enum outcome
answer(struct loop *loop, struct desk *desk)
{
    desk->opened = 0;
    if (body(desk, 0) == NULL || header(desk)->len != desk->length)
        return FOR_PYTHON;
    switch (header(desk)->opcode) {
    case FUSE_GETATTR:
        desk->operation = GETATTR;
        return answer_getattr(loop, desk);
    case FUSE_OPEN:
        desk->operation = OPEN;
        return answer_open(loop, desk);
    case FUSE_READ:
        desk->operation = READ;
        return answer_read(loop, desk);
    case FUSE_RELEASE:
        desk->operation = RELEASE;
        return answer_release(loop, desk);
    case FUSE_READDIRPLUS:
        desk->operation = READDIRPLUS;
        return answer_readdirplus(loop, desk);
    case FUSE_IOCTL:
        desk->operation = IOCTL;
        return finish(desk, 0, ENOTTY);
    default:
        return FOR_PYTHON;
    }
}

void
count_begun(struct counts *counts, enum operation operation, int change)
{
    atomic_fetch_add_explicit(&counts->counts[operation][counts->bounds + 1], change, memory_order_relaxed);
}

void
count_elapsed(struct counts *counts, enum operation operation, int64_t elapsed_ns)
{
    _Atomic int64_t *of = counts->counts[operation];
    int bucket = 0;
    while (bucket < counts->bounds && counts->bounds_ns[bucket] < elapsed_ns)
        bucket++;
    atomic_fetch_add_explicit(&of[bucket], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&of[counts->bounds + 2], elapsed_ns, memory_order_relaxed);
}
