/* The element-wise activations, by number; the same order in every table of them. */
#ifndef FL_ACTIVATION_CODES_H
#define FL_ACTIVATION_CODES_H

enum fl_activation {
    FL_LINEAR,
    FL_RELU,
    FL_LEAKY_RELU,
    FL_ELU,
    FL_GELU,
    FL_SILU,
    FL_SIGMOID,
    FL_TANH,
    FL_SOFTPLUS,
    FL_ACTIVATIONS /* how many there are */
};

#endif
