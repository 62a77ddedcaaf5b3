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
void fl_buffers_limit(size_t bytes); /* no more than so many shall wait */
void fl_buffers_empty(void);         /* give all of them back to the system */

typedef struct fl_buffers fl_buffers;
fl_buffers *fl_buffers_shared(void);
void fl_buffers_share(fl_buffers *pool);
void fl_buffers_init(void); /* once per process: makes the lock safe across fork() */

#endif
