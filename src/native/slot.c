/* The call to the raw store that the loop makes just now, published so that it can be taken from its thread.

   A raw store can hang, and nothing can end the call. So before a call its thread holds this slot, and whoever finds it
   held for too long *adopts* the request: from then on it is one of Python's, with a deadline, and the thread that
   hangs has nothing to answer any more. There is one slot, because one thread at a time reads requests: the seat of a
   thread that hangs in a call is given away only after its request was adopted (fuse/direct/workers.py).

   | the slot is | which means | and becomes |
   |---|---|---|
   | free | no call is under way, or only such as were adopted | claimed, by the reader |
   | claimed | the reader writes down what the call is for; nobody may look yet | held |
   | held | the reader is in the call | free, by whoever swaps it first: |
   | | the reader, back in time: it answers | |
   | | the reader, because the slot was closed meanwhile: the request is Python's | |
   | | the watch, or the end of the daemon: the request is adopted | |

   The word is the number of the call and the state, so that a late hand cannot swap another call. A slot that is closed
   lets no call begin: the reader looks at it once more after it holds, and who closes it looks afterwards whether one
   is held, so that one of them sees the other. Only with the interpreter may a request be adopted, and only with the
   interpreter does the thread that lost it go on: until then its buffer stays. */

#include "loop.h"

#include <errno.h>
#include <time.h>

enum { CLAIMED = 1, HELD = 2, STATES = 3 };

/* After so many moments without a call the watch goes to sleep. */
enum { QUIET_MOMENTS = 25 };

int64_t
now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

bool
slot_begin(struct slot *slot)
{
    atomic_init(&slot->word, 0);
    atomic_init(&slot->calls, 0);
    atomic_init(&slot->is_open, true);
    atomic_init(&slot->watch_sleeps, false);
    atomic_init(&slot->has_ended, false);
    return sem_init(&slot->wanted, 0, 0) == 0;
}

void
slot_end(struct slot *slot)
{
    sem_destroy(&slot->wanted);
}

static void
wake_watch(struct slot *slot)
{
    if (atomic_load(&slot->watch_sleeps) && atomic_exchange(&slot->watch_sleeps, false))
        sem_post(&slot->wanted);
}

enum outcome
slot_hold(struct slot *slot, const struct caller *caller, uint64_t *call)
{
    if (!atomic_load(&slot->is_open))
        return FOR_PYTHON;
    uint64_t number = atomic_fetch_add(&slot->calls, 1) + 1, none = 0;
    if (!atomic_compare_exchange_strong(&slot->word, &none, number << 2 | CLAIMED))
        return FOR_PYTHON;
    slot->request = caller->request;
    slot->length = caller->length;
    atomic_store_explicit(&slot->since_ns, caller->since_ns, memory_order_relaxed);
    atomic_store_explicit(&slot->thread, caller->thread, memory_order_relaxed);
    atomic_store(&slot->word, number << 2 | HELD);
    wake_watch(slot);
    *call = number;
    if (atomic_load(&slot->is_open))
        return ANSWERED;
    return slot_free(slot, number) == ADOPTED ? ADOPTED : FOR_PYTHON;
}

enum outcome
slot_free(struct slot *slot, uint64_t call)
{
    uint64_t held = call << 2 | HELD;
    return atomic_compare_exchange_strong(&slot->word, &held, 0) ? ANSWERED : ADOPTED;
}

bool
slot_is_held(const struct slot *slot, uint64_t call)
{
    return atomic_load(&slot->word) == (call << 2 | HELD);
}

bool
slot_adopt(struct slot *slot, uint64_t call)
{
    uint64_t held = call ? call << 2 | HELD : atomic_load(&slot->word);
    return (held & STATES) == HELD && atomic_compare_exchange_strong(&slot->word, &held, 0);
}

bool
slot_watch(struct slot *slot, int64_t moment_ns, uint64_t *call, int *thread)
{
    const struct timespec moment = {.tv_sec = moment_ns / 1000000000, .tv_nsec = moment_ns % 1000000000};
    uint64_t seen = 0;
    for (int quiet = 0; !atomic_load(&slot->has_ended);) {
        clock_nanosleep(CLOCK_MONOTONIC, 0, &moment, NULL);
        uint64_t word = atomic_load(&slot->word), calls = atomic_load(&slot->calls);
        int64_t since_ns = atomic_load_explicit(&slot->since_ns, memory_order_relaxed);
        if ((word & STATES) == HELD && now_ns() - since_ns >= moment_ns) {
            *call = word >> 2;
            *thread = atomic_load_explicit(&slot->thread, memory_order_relaxed);
            return true;
        }
        quiet = calls == seen && word == 0 ? quiet + 1 : 0;
        seen = calls;
        if (quiet < QUIET_MOMENTS)
            continue;
        quiet = 0;
        atomic_store(&slot->watch_sleeps, true);
        if (atomic_load(&slot->word) == 0 && !atomic_load(&slot->has_ended))
            while (sem_wait(&slot->wanted) < 0 && errno == EINTR)
                ;
        atomic_store(&slot->watch_sleeps, false);
    }
    return false;
}
