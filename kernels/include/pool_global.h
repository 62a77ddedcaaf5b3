/* Pooling with one window over the whole image. */
#ifndef FL_POOL_GLOBAL_H
#define FL_POOL_GLOBAL_H

#include "fl_types.h"
#include "pool.h"

/* Whether a window holds all pixels, and nothing else. */
int FL(pool_is_global)(const fl_window *window);

/* Of channels_first images. */
void FL(pool_global_max)(const fl_pool *pool, const void *x, void *y, void *argmax);
void FL(pool_global_average)(const fl_pool *pool, const void *x, void *y);
void FL(pool_global_average_backward)(const fl_pool *pool, const void *dy, void *dx);

/* Of any images: dx is zero but for one pixel of each channel. */
void FL(pool_global_max_backward)(const fl_pool *pool, const void *dy, const void *argmax, void *dx);

#endif
