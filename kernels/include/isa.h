/* The instruction sets this build has bodies for, slowest first. */
#ifndef FL_ISA_H
#define FL_ISA_H

int fl_isa_count(void);
const char *fl_isa_name(int isa);
int fl_isa_supported(int isa); /* present on this CPU and enabled by the operating system */
int fl_isa_vector_bytes(int isa);

#endif
