/* Memory that goes back to a pool when it is released: fresh pages cost far more than writing into used ones.
 *
 * Blocks are 64-byte aligned and kept by size class; the idle ones are bounded.  All modules of the process share one
 * pool.  Builds with the address sanitizer bypass it, since reuse would hide errors. */
#ifndef FL_BUFFERS_H
#define FL_BUFFERS_H

#include <stddef.h>

void *fl_buffer_get(size_t bytes); /* NULL when there is no memory; contents are anything */
void fl_buffer_put(void *block, size_t bytes);

size_t fl_buffers_idle(void);        /* bytes that wait for reuse */
size_t fl_buffers_in_use(void);      /* bytes handed out, in whole blocks */
size_t fl_buffers_peak(void);        /* the most that were handed out at once since the last call */
void fl_buffers_limit(size_t bytes); /* no more than so many shall wait */
void fl_buffers_empty(void);         /* give all of them back to the system */

/* What would a driver ask for?  From fl_probe_begin to fl_probe_end, which returns the sum, this thread's requests are
 * noted and refused, and its parallel regions do nothing.  So a driver that asks before it touches any data, and touches
 * data in parallel regions alone, may be called with no data at all. */
void fl_probe_begin(void);
size_t fl_probe_end(void);
int fl_probing(void);

typedef struct fl_buffers fl_buffers;
fl_buffers *fl_buffers_shared(void);
void fl_buffers_share(fl_buffers *pool);
void fl_buffers_init(void); /* once per process: makes the lock safe across fork() */

#endif
