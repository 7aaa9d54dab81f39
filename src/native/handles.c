/* Files that the native loop opened, by the number that the kernel was given.

   A place is used again once its file is closed, under another serial: a number that was released means nothing any
   more. Used by the loop's threads and by Python's, under one mutex; nothing here makes a call that can wait. */

#include "loop.h"

#include <stdlib.h>
#include <unistd.h>

struct place {
    struct open_file file;
    uint32_t serial; /* 0 while nothing is here */
    uint32_t next;
};

enum { FIRST_ROOM = 64, SERIALS = 1 << 29 };

bool
handles_begin(struct handles *handles, uint32_t limit)
{
    *handles = (struct handles){.limit = limit};
    return pthread_mutex_init(&handles->mutex, NULL) == 0;
}

void
handles_end(struct handles *handles)
{
    for (uint32_t at = 0; at < handles->room; at++)
        if (handles->places[at].file.fd >= 0)
            close(handles->places[at].file.fd);
    free(handles->places);
    pthread_mutex_destroy(&handles->mutex);
}

void
handles_set_others(struct handles *handles, uint32_t others)
{
    pthread_mutex_lock(&handles->mutex);
    handles->others = others;
    pthread_mutex_unlock(&handles->mutex);
}

uint32_t
handles_count(struct handles *handles)
{
    pthread_mutex_lock(&handles->mutex);
    uint32_t used = handles->used;
    pthread_mutex_unlock(&handles->mutex);
    return used;
}

/* ---- the caller of what follows holds the mutex --------------------------------------------------------------- */

static bool
make_room(struct handles *handles)
{
    uint32_t room = handles->room ? handles->room * 2 : FIRST_ROOM;
    struct place *places = realloc(handles->places, room * sizeof *places);
    if (places == NULL)
        return false;
    for (uint32_t at = room; at > handles->room; at--) {
        places[at - 1] = (struct place){.file.fd = -1, .next = handles->free};
        handles->free = at;
    }
    handles->places = places;
    handles->room = room;
    return true;
}

static uint64_t
number_of(uint32_t serial, uint32_t at)
{
    return NATIVE_HANDLE | (uint64_t)serial << 32 | at;
}

static struct place *
find(struct handles *handles, uint64_t number)
{
    uint32_t at = (uint32_t)number;
    if (at >= handles->room)
        return NULL;
    struct place *place = &handles->places[at];
    return place->serial != 0 && number == number_of(place->serial, at) ? place : NULL;
}

/* Have a place used again; with the last file the memory goes, too. */
static void
vacate(struct handles *handles, struct place *place)
{
    place->file.fd = -1;
    place->serial = 0;
    place->next = handles->free;
    handles->free = (uint32_t)(place - handles->places) + 1;
    handles->used--;
    if (handles->used == 0 && handles->room > FIRST_ROOM) {
        free(handles->places);
        handles->places = NULL;
        handles->room = handles->free = 0;
    }
}

/* ---------------------------------------------------------------------------------------------------------------- */

uint64_t
handles_add(struct handles *handles, const struct open_file *file)
{
    uint64_t number = 0;
    pthread_mutex_lock(&handles->mutex);
    uint64_t open = (uint64_t)handles->used + handles->others;
    if (open < handles->limit && (handles->free || make_room(handles))) {
        uint32_t at = handles->free - 1;
        struct place *place = &handles->places[at];
        handles->free = place->next;
        handles->serial = handles->serial % (SERIALS - 1) + 1;
        *place = (struct place){.file = *file, .serial = handles->serial};
        handles->used++;
        number = number_of(place->serial, at);
    }
    pthread_mutex_unlock(&handles->mutex);
    return number;
}

bool
handles_get(struct handles *handles, uint64_t number, struct open_file *out)
{
    pthread_mutex_lock(&handles->mutex);
    struct place *place = find(handles, number);
    if (place != NULL)
        *out = place->file;
    pthread_mutex_unlock(&handles->mutex);
    return place != NULL;
}

bool
handles_take(struct handles *handles, uint64_t number, struct open_file *out)
{
    pthread_mutex_lock(&handles->mutex);
    struct place *place = find(handles, number);
    if (place != NULL) {
        *out = place->file;
        vacate(handles, place);
    }
    pthread_mutex_unlock(&handles->mutex);
    return place != NULL;
}

void
handles_drop(struct handles *handles, uint64_t number)
{
    pthread_mutex_lock(&handles->mutex);
    struct place *place = find(handles, number);
    if (place != NULL) {
        place->serial = 0; /* still used: it is open */
        place->next = handles->dropped;
        handles->dropped = (uint32_t)(place - handles->places) + 1;
    }
    pthread_mutex_unlock(&handles->mutex);
}

int
handles_take_dropped(struct handles *handles)
{
    int fd = -1;
    pthread_mutex_lock(&handles->mutex);
    if (handles->dropped) {
        struct place *place = &handles->places[handles->dropped - 1];
        handles->dropped = place->next;
        fd = place->file.fd;
        vacate(handles, place);
    }
    pthread_mutex_unlock(&handles->mutex);
    return fd;
}
