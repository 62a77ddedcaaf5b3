/* Small ops on several threads: worth it only while the team is awake.
 *
 * A region costs two microseconds while the members of the last one still look for work, and ten times that, or a
 * hundred, once they sleep.  So ops too small to wake a team for are shared out when they follow another region at once.
 * A burst of them, which together are worth a wake-up, wakes the team as well.  Whoever waits for a member that gets no
 * core, because other programs have it, then stays on one thread for many times as long as that took.
 *
 * The rule changes who computes, never what: results do not depend on the size of a team.  Times are in seconds. */
#ifndef FL_BURST_H
#define FL_BURST_H

/* Work (as fl_team has it) that is worth waking a team for, in one op or in small ones that follow each other. */
static const double FL_WAKE_WORK = 8e6;

/* What a calling thread knows of its team; all zero at first. */
typedef struct {
    double ended;   /* when the last region that counts ended, */
    int awake;      /* and whether it had a team */
    int small;      /* the op at work is a small one, as the caller says, */
    double began;   /* which began then */
    double work;    /* of the small ops since the last pause */
    double respite; /* no team for small ops before this time */
} fl_burst;

/* An op of so much work comes, too small to wake a team for. -> whether a team should share it */
int fl_burst_joins(fl_burst *burst, double now, double work);

/* A region ended, which a team shared or not. */
void fl_burst_ended(fl_burst *burst, double now, int shared);

#endif
