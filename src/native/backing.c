/* Raw files that are registered with the kernel, which then reads them by itself, by the inode that is open on them.

   All opens of an inode must use one registration, so the loop and Python share this table; fuse/direct/backing.py says
   the same in Python. A registration ends behind the last close, by a thread that may wait: it can close the file. */

#include "loop.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>

/* Of linux/fuse.h since Linux 6.9; older headers lack it. */
struct backing_map {
    int32_t fd;
    uint32_t flags;
    uint64_t padding;
};

#define BACKING_OPEN _IOW(229, 1, struct backing_map)
#define BACKING_CLOSE _IOW(229, 2, uint32_t)

struct backing {
    struct backing *next;
    uint64_t inode;
    int64_t file;
    uint32_t opens;
    int32_t id; /* 0: the kernel refused, and Python reads */
};

void
backings_begin(struct backings *backings, int fd)
{
    *backings = (struct backings){.fd = fd};
    pthread_mutex_init(&backings->mutex, NULL);
}

static void
free_chain(struct backing *chain)
{
    while (chain != NULL) {
        struct backing *next = chain->next;
        free(chain);
        chain = next;
    }
}

void
backings_end(struct backings *backings)
{
    for (size_t at = 0; at < BACKINGS; at++)
        free_chain(backings->of[at]);
    free_chain(backings->closed);
    pthread_mutex_destroy(&backings->mutex);
}

static struct backing **
find(struct backings *backings, uint64_t inode)
{
    struct backing **at = &backings->of[inode % BACKINGS];
    while (*at != NULL && (*at)->inode != inode)
        at = &(*at)->next;
    return at;
}

/* Register a file; the caller holds the mutex. What is refused is kept if it shall be; returns why it is. */
static int
add(struct backings *backings, struct backing **at, const struct open_file *file, bool keep_refused)
{
    struct backing *made = malloc(sizeof *made);
    if (made == NULL)
        return ENOMEM;
    struct backing_map map = {.fd = file->fd};
    int id = ioctl(backings->fd, BACKING_OPEN, &map);
    int error = id > 0 ? 0 : errno;
    *made = (struct backing){.inode = file->inode, .file = file->facts.file, .id = id > 0 ? id : 0};
    if (error == 0 || keep_refused)
        *at = made;
    else
        free(made);
    return error;
}

int
backings_open(struct backings *backings, const struct open_file *file, bool keep_refused, int32_t *id)
{
    int error = 0;
    pthread_mutex_lock(&backings->mutex);
    struct backing **at = find(backings, file->inode);
    if (*at == NULL)
        error = add(backings, at, file, keep_refused);
    else if ((*at)->id && (*at)->file != file->facts.file)
        error = EEXIST;
    else if ((*at)->id == 0 && !keep_refused)
        error = EOPNOTSUPP;
    bool is_counted = *at != NULL && (error == 0 || (keep_refused && error != EEXIST));
    if (is_counted)
        (*at)->opens++;
    *id = is_counted ? (*at)->id : 0;
    pthread_mutex_unlock(&backings->mutex);
    return error;
}

bool
backings_close(struct backings *backings, uint64_t inode)
{
    pthread_mutex_lock(&backings->mutex);
    struct backing **at = find(backings, inode), *found = *at;
    bool was_open = found != NULL;
    if (was_open && --found->opens == 0) {
        *at = found->next;
        found->next = found->id ? backings->closed : NULL;
        if (found->id)
            backings->closed = found;
        else
            free(found);
    }
    pthread_mutex_unlock(&backings->mutex);
    return was_open;
}

int
backings_let_go(struct backings *backings)
{
    pthread_mutex_lock(&backings->mutex);
    struct backing *closed = backings->closed;
    backings->closed = NULL;
    pthread_mutex_unlock(&backings->mutex);
    int error = 0;
    for (struct backing *one = closed; one != NULL; one = one->next) {
        uint32_t id = (uint32_t)one->id;
        if (ioctl(backings->fd, BACKING_CLOSE, &id) < 0)
            error = errno;
    }
    free_chain(closed);
    return error;
}
