/* The runtime of compiled functions, as one piece for the compiler. */
#include "math.c"
#include "text.c"
#include "search.c"
#include "unicode.c"
#include "numbers.c"
