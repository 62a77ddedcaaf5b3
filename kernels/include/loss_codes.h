/* The losses, by number. */
#ifndef FL_LOSS_CODES_H
#define FL_LOSS_CODES_H

enum fl_loss {
    FL_MEAN_SQUARED_ERROR,
    FL_BINARY_CROSSENTROPY,
    FL_CATEGORICAL_CROSSENTROPY,
    FL_SPARSE_CATEGORICAL_CROSSENTROPY,
    FL_LOSSES /* how many there are */
};

#endif
