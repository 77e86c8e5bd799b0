/* The runtime of compiled functions, as one piece for the compiler. */
#include "math.c"
