/* On which cores the members of a team run. */
#ifndef FL_PLACEMENT_H
#define FL_PLACEMENT_H

/* The CPU this thread runs on, -1 where the system does not tell. */
int fl_current_cpu(void);

/* Called by a member of a team of so many, with the CPU its caller ran on: leave that one to the caller.  given_up: the CPU
 * that this thread gave up before, -1 for none, whoever asked for it. */
void fl_keep_off(int cpu, int team, int *given_up);

/* Let a moment pass, awake. */
static inline void fl_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

#endif
