/* The one door to OpenMP.
 *
 * A `threads` argument, wherever it appears below Python, is
 *     > 0   use at most so many
 *     < 0   use at most -threads, and no more than the process's own OpenMP limit at this moment
 * and FL_FORCE_TEAM added to a positive one asks for exactly so many, however small the work (tests use it).
 */
#ifndef FL_PARALLEL_H
#define FL_PARALLEL_H

#include <stddef.h>

enum { FL_MAX_THREADS = 4096, FL_FORCE_TEAM = 1 << 16 };

/* Do the tasks begin <= task < end as member `thread` of the team. */
typedef void fl_body(void *job, ptrdiff_t begin, ptrdiff_t end, int thread);

/* How many threads to use for `tasks` independent tasks that are `work` flops in all (or, where memory is the limit,
 * four times the bytes moved).  For small work that depends on what this thread did just before: see burst.h. */
int fl_team(int threads, ptrdiff_t tasks, double work);

/* Run body over [0, tasks), one contiguous share per thread; `team` comes from fl_team. */
void fl_parallel(int team, ptrdiff_t tasks, fl_body *body, void *job);

/* What is known of teams, which all modules of the process share through the runtime module. */
typedef struct fl_teams fl_teams;
fl_teams *fl_teams_shared(void);
void fl_teams_share(fl_teams *teams);

void fl_parallel_init(void); /* once per module: makes fork() safe */
int fl_openmp_version(void); /* _OPENMP's date, 0 when built without OpenMP */
int fl_openmp_max_threads(void);

#endif
