/* When small ops are shared out; see burst.h. */
#include "burst.h"

/* Seconds that members stay awake at least: half of what fastlayers/_openmp.py has them spin. */
static const double AWAKE = 25e-6;

/* A small op that takes so many seconds waited for a core, and that many times it we do without a team. */
static const double SLOW = 500e-6, RESPITE = 16;

int fl_burst_joins(fl_burst *burst, double now, double work) {
    if (now - burst->ended > AWAKE) burst->awake = 0, burst->work = 0;
    burst->began = now;
    burst->work += work;
    return now >= burst->respite && (burst->awake || burst->work >= FL_WAKE_WORK);
}

void fl_burst_ended(fl_burst *burst, double now, int shared) {
    if (burst->awake && !shared) return; /* its members do not look for work the longer for it */
    burst->ended = now;
    burst->awake = shared;
    if (shared && burst->small && now - burst->began > SLOW) burst->respite = now + RESPITE * (now - burst->began);
}
