/* Which instruction sets are built in, and which of them this CPU has. */
#include "isa.h"

static int always(void) { return 1; }

#ifdef FL_HAVE_AVX2
static int has_avx2(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
#endif

#ifdef FL_HAVE_AVX512
static int has_avx512(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma");
}
#endif

/* The same order as FL_ISA_ROWS in fl_types.h. */
static const struct {
    const char *name;
    int (*supported)(void);
    int vector_bytes;
} isas[] = {
#ifdef FL_HAVE_BASELINE
    {"baseline", always, 16},
#endif
#ifdef FL_HAVE_NEON
    {"neon", always, 16},
#endif
#ifdef FL_HAVE_AVX2
    {"avx2", has_avx2, 32},
#endif
#ifdef FL_HAVE_AVX512
    {"avx512", has_avx512, 64},
#endif
};

int fl_isa_count(void) { return (int)(sizeof isas / sizeof *isas); }
const char *fl_isa_name(int isa) { return isas[isa].name; }
int fl_isa_supported(int isa) { return isas[isa].supported(); }
int fl_isa_vector_bytes(int isa) { return isas[isa].vector_bytes; }
