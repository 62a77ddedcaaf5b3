/* Losses and their gradients. */
#include "loss_ukernels.h"

#include "varray.h"

/* Probabilities are clipped to [EPSILON, 1 - EPSILON]; where one was clipped its gradient is zero. */
#define EPSILON ((fl_real)1e-7)
#define HIGHEST ((fl_real)(1 - 1e-7))
#define LOG_BESIDE_HIGHEST ((fl_real)-16.118095651484676) /* log(1 - (1 - EPSILON)), as double precision has it */
#define LOG_HIGHEST ((fl_real)-1.0000000494736474e-07)

FL_INLINE vreal log_clipped(vreal p) { return vselect((vint)(p > HIGHEST), vsplat(LOG_HIGHEST), vlog(vat_least(p, EPSILON))); }
FL_INLINE vreal log_one_minus_clipped(vreal p) {
    return vselect((vint)(p > HIGHEST), vsplat(LOG_BESIDE_HIGHEST), vlog1p(-vat_least(p, EPSILON)));
}
FL_INLINE vint was_clipped(vreal p) { return (vint)(p < EPSILON) | (vint)(p > HIGHEST); }

/* sum of (y - t)^2 */
static double squared_error(ptrdiff_t rows, ptrdiff_t columns, const fl_real *y, const void *targets, double scale, fl_real *dy) {
    const ptrdiff_t n = rows * columns;
    const fl_real *t = targets, twice = (fl_real)(2 * scale);
    vwide sum = {0};
    for (ptrdiff_t i = 0; i < n; i += VL) {
        vreal difference = vload_next(y + i, n - i) - vload_next(t + i, n - i);
        vadd_product(&sum, difference, difference);
        vstore_next(dy + i, twice * difference, n - i);
    }
    return vtotal(sum);
}

/* sum of max(x, 0) - x t + log(1 + exp(-|x|)), the same as -t log p - (1 - t) log(1 - p) for p = sigmoid(x) */
static double binary_logits(ptrdiff_t rows, ptrdiff_t columns, const fl_real *x, const void *targets, double scale, fl_real *dx) {
    const ptrdiff_t n = rows * columns;
    const fl_real *targets_n = targets, factor = (fl_real)scale;
    vwide sum = {0};
    for (ptrdiff_t i = 0; i < n; i += VL) {
        vreal v = vload_next(x + i, n - i), t = vload_next(targets_n + i, n - i);
        vreal e = vexp(-vabs(v)), p = vselect((vint)(v < 0), e, vsplat(1)) / (1 + e);
        vadd(&sum, vzero_where((vint)(v < 0), v));
        vadd_product(&sum, -v, t);
        vadd(&sum, vkeep(vlog1p(e), n - i));
        vstore_next(dx + i, factor * (p - t), n - i);
    }
    return vtotal(sum);
}

/* sum of -t log p - (1 - t) log(1 - p) */
static double binary_probabilities(ptrdiff_t rows, ptrdiff_t columns, const fl_real *p, const void *targets, double scale,
                                   fl_real *dp) {
    const ptrdiff_t n = rows * columns;
    const fl_real *targets_n = targets, factor = (fl_real)scale;
    vwide sum = {0};
    for (ptrdiff_t i = 0; i < n; i += VL) {
        vreal v = vload_next(p + i, n - i), t = vload_next(targets_n + i, n - i);
        vadd_product(&sum, -t, log_clipped(v));
        vadd_product(&sum, vkeep(t - 1, n - i), log_one_minus_clipped(v));
        vstore_next(dp + i, vzero_where(was_clipped(v), factor * ((v - t) / (v * (1 - v)))), n - i);
    }
    return vtotal(sum);
}

/* sum of -t log p */
static double categorical_probabilities(ptrdiff_t rows, ptrdiff_t columns, const fl_real *p, const void *targets,
                                        double scale, fl_real *dp) {
    const fl_real *targets_n = targets, factor = (fl_real)-scale;
    const ptrdiff_t n = rows * columns;
    vwide sum = {0};
    for (ptrdiff_t i = 0; i < n; i += VL) {
        vreal v = vload_next(p + i, n - i), t = vload_next(targets_n + i, n - i);
        vadd_product(&sum, -t, log_clipped(v));
        vstore_next(dp + i, vzero_where(was_clipped(v), factor * (t / v)), n - i);
    }
    return vtotal(sum);
}

/* log of a sum >= 1 (or NaN) of exponentials, from what it has beyond 1 */
FL_INLINE double log_of_sum(double sum) { return vlog1p(vsplat((fl_real)(sum - 1)))[0]; }

/* One row of sum(t) log S - sum of t (x - m), where m = max x and S = sum of exp(x - m): -sum of t log softmax(x) */
FL_INLINE double categorical_row(ptrdiff_t n, const fl_real *x, const fl_real *targets, double scale, fl_real *dx) {
    const fl_real shift = row_maximum(n, x);
    const double sum = row_exp(n, x, shift, dx);
    vwide weight = {0}, weighted = {0};
    for (ptrdiff_t i = 0; i < n; i += VL) {
        vreal t = vload_next(targets + i, n - i);
        vadd(&weight, t);
        vadd_product(&weighted, t, vkeep(vload_next(x + i, n - i) - shift, n - i));
    }
    const double total = vtotal(weight);
    const fl_real of_exp = (fl_real)(total * scale / sum), of_target = (fl_real)scale;
    for (ptrdiff_t i = 0; i < n; i += VL) {
        vreal e = vload_next(dx + i, n - i), t = vload_next(targets + i, n - i);
        vstore_next(dx + i, of_exp * e - of_target * t, n - i);
    }
    return total * log_of_sum(sum) - vtotal(weighted);
}

static double categorical_logits(ptrdiff_t rows, ptrdiff_t columns, const fl_real *x, const void *targets, double scale,
                                 fl_real *dx) {
    const fl_real *t = targets;
    double losses = 0;
    for (ptrdiff_t i = 0; i < rows * columns; i += columns) losses += categorical_row(columns, x + i, t + i, scale, dx + i);
    return losses;
}

FL_INLINE int is_class(int64_t label, ptrdiff_t columns) { return label >= 0 && label < columns; }

/* sum of log S - (x[label] - m) */
static double sparse_logits(ptrdiff_t rows, ptrdiff_t columns, const fl_real *x, const void *targets, double scale,
                            fl_real *dx) {
    const volatile int64_t *labels = targets; /* volatile: checked and used must be the same value */
    double losses = 0;
    for (ptrdiff_t row = 0; row < rows; row++, x += columns, dx += columns) {
        const int64_t label = labels[row];
        const fl_real shift = row_maximum(columns, x);
        const double sum = row_exp(columns, x, shift, dx), factor = scale / sum;
        const double own = is_class(label, columns) ? dx[label] : 0;
        row_scale(columns, (fl_real)factor, dx);
        if (!is_class(label, columns)) continue;
        losses += log_of_sum(sum) - ((double)x[label] - shift);
        dx[label] = (fl_real)((own - sum) * factor); /* p - 1 without its cancellation */
    }
    return losses;
}

/* sum of -log p[label] */
static double sparse_probabilities(ptrdiff_t rows, ptrdiff_t columns, const fl_real *p, const void *targets, double scale,
                                   fl_real *dp) {
    const volatile int64_t *labels = targets;
    double losses = 0;
    memset(dp, 0, (size_t)(rows * columns) * sizeof *dp);
    for (ptrdiff_t row = 0; row < rows; row++, p += columns, dp += columns) {
        const int64_t label = labels[row];
        if (!is_class(label, columns)) continue;
        const vreal own = vsplat(p[label]);
        losses -= log_clipped(own)[0];
        dp[label] = was_clipped(own)[0] ? 0 : (fl_real)(-scale / p[label]);
    }
    return losses;
}

const fl_loss_ukernels FL_UK(loss) = {
    .from_probabilities = {[FL_MEAN_SQUARED_ERROR] = squared_error,
                           [FL_BINARY_CROSSENTROPY] = binary_probabilities,
                           [FL_CATEGORICAL_CROSSENTROPY] = categorical_probabilities,
                           [FL_SPARSE_CATEGORICAL_CROSSENTROPY] = sparse_probabilities},
    .from_logits = {[FL_MEAN_SQUARED_ERROR] = squared_error,
                    [FL_BINARY_CROSSENTROPY] = binary_logits,
                    [FL_CATEGORICAL_CROSSENTROPY] = categorical_logits,
                    [FL_SPARSE_CATEGORICAL_CROSSENTROPY] = sparse_logits}};
