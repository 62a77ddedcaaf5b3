/* Pooling over images as they stand: units of rows, shared out over the team. */
#include "parallel.h"
#include "pool_gather.h"

enum {
    MIN_TASKS = 32,    /* enough for any team to share evenly */
    MIN_CHANNELS = 64, /* of a task, where rows are so few that channels are shared out */
    MIN_PIXELS = 8,    /* of a task, where they are so few that rows are cut into strips */
    NEAR_BYTES = 1 << 20, /* of sources and results that are taken to be in L2 */
};

/* Tasks are image x unit x group of strips x part of the channels. */
typedef struct {
    const fl_pool_gathering *g;
    fl_pool_units units;
    ptrdiff_t groups, parts, part_channels;
} sharing;

static fl_pool_view part_of_image(const sharing *s, ptrdiff_t image, ptrdiff_t part) {
    const fl_pool_gathering *g = s->g;
    const ptrdiff_t channel = part * s->part_channels;
    const ptrdiff_t source = image * g->y.sources * g->x.sources * g->channels + channel;
    const ptrdiff_t result = image * g->y.results * g->x.results * g->channels + channel;
    const ptrdiff_t pixels = g->y.sources * g->x.sources + g->y.results * g->x.results;
    return (fl_pool_view){.far = g->images * pixels * g->channels > NEAR_BYTES / (ptrdiff_t)sizeof(fl_real),
                          .source = g->source + source, .result = g->result + result, .pitch = g->channels,
                          .argmax = g->argmax ? g->argmax + (g->argmax_of_sources ? source : result) * g->argmax_bytes : NULL,
                          .channels = FL_MIN(s->part_channels, g->channels - channel)};
}

static void do_tasks(void *job, ptrdiff_t begin, ptrdiff_t end, int thread) {
    (void)thread;
    const sharing *s = job;
    const ptrdiff_t strips = s->units.strips.count;
    for (ptrdiff_t task = begin; task < end; task++) {
        const ptrdiff_t unit = task / s->parts / s->groups, group = task / s->parts % s->groups;
        const fl_pool_view view = part_of_image(s, unit / s->units.count, task % s->parts);
        FL(pool_unit)(&s->units, s->g, &view, unit % s->units.count, group * strips / s->groups,
                      (group + 1) * strips / s->groups);
    }
}

/* Cut the work up; one thread takes images whole, as they lie in memory. No result depends on it. */
static int share_out(sharing *s, const fl_pool_gathering *g) {
    const ptrdiff_t least = fl_team(g->threads, MIN_TASKS, g->work) > 1 ? MIN_TASKS : 1;
    const int tiled = g->images * (g->y.results / g->window_rows) >= least;
    const ptrdiff_t strips = tiled ? 1 : fl_ceil_div(least, g->images * g->y.results);
    const ptrdiff_t longest = strips == 1 ? PTRDIFF_MAX : FL_MAX(MIN_PIXELS, fl_ceil_div(g->x.results, strips));
    *s = (sharing){.g = g};
    if (FL(pool_units)(&s->units, g, tiled, longest)) return FL_ENOMEM;
    s->groups = FL_MIN(strips, s->units.strips.count);
    const ptrdiff_t parts = fl_ceil_div(least, g->images * s->units.count * s->groups);
    s->part_channels = fl_ceil_div(g->channels, parts * MIN_CHANNELS) * MIN_CHANNELS;
    s->parts = fl_ceil_div(g->channels, s->part_channels);
    return FL_OK;
}

int FL(pool_images)(const fl_pool_gathering *g) {
    sharing s;
    const int status = share_out(&s, g);
    if (status == FL_OK) {
        const ptrdiff_t tasks = g->images * s.units.count * s.groups * s.parts;
        fl_parallel(fl_team(g->threads, tasks, g->work), tasks, do_tasks, &s);
    }
    FL(pool_units_free)(&s.units);
    return status;
}
