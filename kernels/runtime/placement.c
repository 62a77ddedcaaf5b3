/* Members of a team on cores of their own.
 *
 * A member that sleeps is woken by its caller, and in a virtual machine it is likely to be put on the caller's core: the
 * guest's kernel takes an idle virtual CPU, which its host has stopped, for one that another guest holds.  The two then
 * share one core for good, since neither waits for it long enough to be moved.  So a member that finds itself on its
 * caller's core gives up that core, and that one alone, until its caller turns up on another one of its cores. */
#define _GNU_SOURCE
#include "placement.h"

#ifdef __linux__
#include <sched.h>

int fl_current_cpu(void) { return sched_getcpu(); }

void fl_keep_off(int cpu, int team, int *given_up) {
    if (cpu < 0 || sched_getcpu() != cpu) return;
    cpu_set_t cpus;
    if (sched_getaffinity(0, sizeof cpus, &cpus)) return;
    if (*given_up >= 0) CPU_SET(*given_up, &cpus);
    if (CPU_COUNT(&cpus) < team) return;
    CPU_CLR(cpu, &cpus);
    if (sched_setaffinity(0, sizeof cpus, &cpus) == 0) *given_up = cpu;
}
#else
int fl_current_cpu(void) { return -1; }
void fl_keep_off(int cpu, int team, int *given_up) { (void)cpu, (void)team, (void)given_up; }
#endif
