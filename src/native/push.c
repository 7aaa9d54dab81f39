/* Pushing: the bytes of a small file go into the kernel's page cache with its first open.

   Why the first alone, and what if the kernel makes us wait, is said in readyfs/fuse/direct/page_cache.py. */

#include "loop.h"

#include <linux/fuse.h>
#include <string.h>
#include <unistd.h>

enum { HEAD = sizeof(struct fuse_out_header) + sizeof(struct fuse_notify_store_out) };

/* Read a whole file behind the head of a message, and compare it once more with what it was when it was opened. */
static bool
read_whole(const struct open_file *file, char *data)
{
    struct file_facts now;
    ssize_t got = pread(file->fd, data, (size_t)file->facts.size, 0);
    return got == file->facts.size && stat_regular(file->fd, &now) == 0 && now.size == file->facts.size &&
           now.mtime_ns == file->facts.mtime_ns;
}

/* FUSE_NOTIFY_STORE of what lies behind the head. */
static bool
send_store(const struct loop *loop, struct desk *desk, uint64_t inode, size_t size)
{
    const struct fuse_out_header header = {.len = (uint32_t)(HEAD + size), .error = FUSE_NOTIFY_STORE};
    const struct fuse_notify_store_out store = {.nodeid = inode, .size = (uint32_t)size};
    memcpy(desk->answer, &header, sizeof header);
    memcpy(desk->answer + sizeof header, &store, sizeof store);
    return write(loop->fd, desk->answer, header.len) == (ssize_t)header.len;
}

bool
push_once(struct loop *loop, struct desk *desk, const struct open_file *file)
{
    int64_t size = file->facts.size;
    bool is_due = size > 0 && size < loop->pushed_below && !(desk->row.state & STATE_PUSHED);
    if (!is_due || desk->is_trial)
        return true;
    if (size > ANSWER_ROOM - HEAD || !read_whole(file, desk->answer + HEAD))
        return false;
    /* Whose open was answered in another way may be gone, and then the number may stand for another file by now. */
    if (!slot_is_held(&loop->slot, desk->call) || !send_store(loop, desk, file->inode, (size_t)size))
        return false;
    rows_note_pushed(loop->rows, file->inode);
    atomic_fetch_add_explicit(&loop->pushed_files, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&loop->pushed_bytes, size, memory_order_relaxed);
    return true;
}
