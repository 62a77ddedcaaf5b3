/* Block sizes: how the big loops are cut so that what is reused stays in cache.  Chosen by measurement. */
#ifndef FL_BLOCKING_H
#define FL_BLOCKING_H

enum {
    FL_LINE = 64, /* bytes of a cache line */
    /* forward and input gradient */
    FL_BLOCK_PIXELS = 96,       /* pixels of a task: their rows of x stay in L2 while every panel passes over them */
    FL_MERGED_PIXELS = 384,     /* the same where taps are merged: image rows are copied for fewer blocks */
    FL_K_BLOCK = 512,           /* depth of a pass when a single tap is deeper than twice that */
    FL_PACKED_BYTES = 8 << 20,  /* of weights packed at once */
    FL_TABLE_ENTRIES = 1 << 16, /* pointers of a block's table at most, where the tile allows it */
    FL_MERGE_BELOW = 8,         /* channels below which the taps of a kernel row are read as one run, */
    FL_MERGE_MOST = 32,         /* and the most of them where image rows are short */
    FL_IN_PLACE_BELOW = 64,     /* pixels below which weights are read as they stand, not packed */
    /* weight gradient */
    FL_CHUNK_PIXELS = 256,      /* output pixels of a chunk: packed x and dy stay in L2 */
    FL_LONG_CHUNK_PIXELS = 1024, /* the same where dy is read only once */
    FL_X_BYTES = 256 << 10,     /* of x packed at once */
    FL_SLICES = 8,              /* partial gradients at most */
    FL_SLICES_BYTES = 8 << 20,  /* of all partial gradients together */
    FL_MAX_COLUMNS = 512,       /* columns of dy packed by one task */
};

#endif
