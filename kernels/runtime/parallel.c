/* Threads: team sizes, one region per op, and survival across fork(). */
#define _GNU_SOURCE
#include "parallel.h"

#include "buffers.h"
#include "burst.h"
#include "fl_types.h"
#include "placement.h"

#ifdef _OPENMP
#include <omp.h>
#endif
#if defined(_OPENMP) && !defined(_WIN32)
#include <dlfcn.h>
#include <pthread.h>
#define FL_HAVE_FORK 1
#endif

/* Below this for each member, not even a team that is awake pays. */
static const double MIN_SHARE = 0.4e6;

/* How often a member that is done looks for the others before it may sleep: some 200 microseconds.  To be woken costs
 * half of that, and a caller that was woken by a member may find itself on the member's core. */
enum { JOIN_SPINS = 20000 };

/* What a thread knows of its team, as the caller, and where it runs, as a member. */
typedef struct {
    fl_burst burst;
    int given_up; /* see placement.h */
} fl_thread;

struct fl_teams {
    int regions; /* in flight */
    fl_thread *(*thread)(void);
};

static fl_thread *this_thread(void) {
    static _Thread_local fl_thread thread = {.given_up = -1};
    return &thread;
}

static fl_teams own = {.thread = this_thread};
static fl_teams *teams = &own;

fl_teams *fl_teams_shared(void) { return teams; }
void fl_teams_share(fl_teams *shared) { teams = shared; }

#ifdef FL_HAVE_FORK
/* libgomp's team does not survive fork(): the child would wait for it for ever.  omp_pause_resource_all lets the team go
 * before the fork and it is built anew on demand, in parent and child alike.  The symbol is looked up at run time, since
 * a libgomp older than OpenMP 5 lacks it; a child of such a process runs on one thread. */
static int (*pause_resources)(int);
static int no_teams;

static void before_fork(void) {
    if (pause_resources) pause_resources(1); /* omp_pause_soft */
}

static void in_child(void) {
    teams->regions = 0;
    if (!pause_resources) no_teams = 1;
}

void fl_parallel_init(void) {
    static int done;
    if (done) return;
    done = 1;
    *(void **)&pause_resources = dlsym(RTLD_DEFAULT, "omp_pause_resource_all");
    pthread_atfork(before_fork, NULL, in_child);
}
#else
static const int no_teams = 0;
void fl_parallel_init(void) {}
#endif

#ifdef _OPENMP
int fl_openmp_version(void) { return _OPENMP; }
int fl_openmp_max_threads(void) { return omp_get_max_threads(); }
static double seconds(void) { return omp_get_wtime(); }
#else
int fl_openmp_version(void) { return 0; }
int fl_openmp_max_threads(void) { return 1; }
static double seconds(void) { return 0; }
#endif

int fl_team(int threads, ptrdiff_t tasks, double work) {
    const int forced = threads > FL_FORCE_TEAM;
    if (no_teams || (!forced && work < 2 * MIN_SHARE)) return 1;
    int team = forced ? threads - FL_FORCE_TEAM : threads;
    if (team < 0) team = FL_MIN(-team, fl_openmp_max_threads());
    team = (int)FL_MAX(1, FL_MIN(team, tasks));
    if (team == 1) return 1;
    fl_burst *burst = &teams->thread()->burst;
    burst->small = !forced && work < FL_WAKE_WORK;
    if (!burst->small) return team;
    if (work < team * MIN_SHARE) return 1;
    return fl_probing() || fl_burst_joins(burst, seconds(), work) ? team : 1;
}

#ifdef _OPENMP
static void run_team(int team, ptrdiff_t tasks, fl_body *body, void *job) {
    const int home = fl_current_cpu();
    int done = 0;
#pragma omp parallel num_threads(team)
    {
        const int thread = omp_get_thread_num(), members = omp_get_num_threads();
        if (thread > 0) fl_keep_off(home, members, &teams->thread()->given_up);
        body(job, tasks * thread / members, tasks * (thread + 1) / members, thread);
        __atomic_fetch_add(&done, 1, __ATOMIC_RELEASE);
        for (int spin = 0; spin < JOIN_SPINS && __atomic_load_n(&done, __ATOMIC_ACQUIRE) < members; spin++) fl_pause();
    }
}
#endif

void fl_parallel(int team, ptrdiff_t tasks, fl_body *body, void *job) {
    if (fl_probing()) return;
    fl_burst *burst = &teams->thread()->burst;
#ifdef _OPENMP
    if (team > 1) {
        /* Teams of several calling threads at once would only fight for the cores: the first caller gets one. */
        const int alone = __atomic_fetch_add(&teams->regions, 1, __ATOMIC_RELAXED) == 0;
        if (alone) run_team(team, tasks, body, job);
        __atomic_fetch_sub(&teams->regions, 1, __ATOMIC_RELAXED);
        if (alone) {
            fl_burst_ended(burst, seconds(), 1);
            return;
        }
    }
#endif
    (void)team;
    body(job, 0, tasks, 0);
    if (burst->small) fl_burst_ended(burst, seconds(), 0);
}
