/* The pool of reusable memory blocks. */
#define _GNU_SOURCE
#include "buffers.h"

#include <pthread.h>
#include <stdlib.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

enum {
    ALIGNMENT = 64,
    STEPS = 8,       /* size classes to each doubling: at most 1/8 of a block is slack */
    CLASSES = 8 * sizeof(size_t) * STEPS,
    SMALLEST = 1024,
};
#ifdef __SANITIZE_ADDRESS__
enum { REUSE = 0 };
#else
enum { REUSE = 1 };
#endif
static const size_t HUGE_PAGE = 2 << 20, ADVISED = 4 << 20;

typedef struct block {
    struct block *next;
} block;

struct fl_buffers {
    pthread_mutex_t lock;
    block *idle[CLASSES];
    size_t idle_bytes, limit, in_use, peak;
};

static struct fl_buffers own = {.lock = PTHREAD_MUTEX_INITIALIZER, .limit = (size_t)1 << 30};
static struct fl_buffers *pool = &own;

fl_buffers *fl_buffers_shared(void) { return pool; }
void fl_buffers_share(fl_buffers *shared) { pool = shared; }

static void lock_pool(void) { pthread_mutex_lock(&pool->lock); }
static void unlock_pool(void) { pthread_mutex_unlock(&pool->lock); }

void fl_buffers_init(void) { pthread_atfork(lock_pool, unlock_pool, unlock_pool); }

/* The class of a request and the size of its blocks: the next multiple of 1/8 of the power of two below. */
static size_t class_of(size_t bytes, size_t *size) {
    if (bytes < SMALLEST) bytes = SMALLEST;
    size_t power = 8 * sizeof(size_t) - 1 - (size_t)__builtin_clzll(bytes), step = (size_t)1 << (power - 3);
    size_t steps = (bytes + step - 1) / step; /* 8 to 16 */
    *size = steps * step;
    return power * STEPS + (steps - STEPS); /* 16 steps are the first class of the next power */
}

static void *fresh(size_t size) {
    void *memory;
    int huge = size >= ADVISED;
    if (posix_memalign(&memory, huge ? HUGE_PAGE : ALIGNMENT, size)) return NULL;
#ifdef __linux__
    if (huge) madvise(memory, size, MADV_HUGEPAGE);
#endif
    return memory;
}

static _Thread_local int probing;
static _Thread_local size_t probed;

void fl_probe_begin(void) { probing = 1, probed = 0; }
size_t fl_probe_end(void) { return probing = 0, probed; }
int fl_probing(void) { return probing; }

void *fl_buffer_get(size_t bytes) {
    if (probing) return probed += bytes, NULL;
    size_t size, class = class_of(bytes, &size);
    if (size < bytes) return NULL; /* the sum overflowed */
    lock_pool();
    pool->in_use += size;
    if (pool->in_use > pool->peak) pool->peak = pool->in_use;
    block *found = pool->idle[class];
    if (found) {
        pool->idle[class] = found->next;
        pool->idle_bytes -= size;
    }
    unlock_pool();
    if (found) return found;
    void *memory = fresh(size);
    if (!memory && fl_buffers_idle()) {
        fl_buffers_empty();
        memory = fresh(size);
    }
    if (!memory) {
        lock_pool();
        pool->in_use -= size;
        unlock_pool();
    }
    return memory;
}

void fl_buffer_put(void *memory, size_t bytes) {
    if (!memory) return;
    size_t size, class = class_of(bytes, &size);
    lock_pool();
    int keep = REUSE && pool->idle_bytes + size <= pool->limit;
    if (keep) {
        block *b = memory;
        b->next = pool->idle[class];
        pool->idle[class] = b;
        pool->idle_bytes += size;
    }
    pool->in_use -= size;
    unlock_pool();
    if (!keep) free(memory);
}

size_t fl_buffers_idle(void) {
    lock_pool();
    size_t bytes = pool->idle_bytes;
    unlock_pool();
    return bytes;
}

size_t fl_buffers_in_use(void) {
    lock_pool();
    size_t bytes = pool->in_use;
    unlock_pool();
    return bytes;
}

size_t fl_buffers_peak(void) {
    lock_pool();
    size_t bytes = pool->peak;
    pool->peak = pool->in_use;
    unlock_pool();
    return bytes;
}

void fl_buffers_empty(void) {
    for (size_t class = 0; class < CLASSES; class++) {
        lock_pool();
        block *b = pool->idle[class];
        pool->idle[class] = NULL;
        for (block *each = b; each; each = each->next) {
            size_t power = class / STEPS, steps = class % STEPS + STEPS;
            pool->idle_bytes -= steps << (power - 3);
        }
        unlock_pool();
        while (b) {
            block *next = b->next;
            free(b);
            b = next;
        }
    }
}

void fl_buffers_limit(size_t bytes) {
    lock_pool();
    pool->limit = bytes;
    int over = pool->idle_bytes > bytes;
    unlock_pool();
    if (over) fl_buffers_empty();
}
