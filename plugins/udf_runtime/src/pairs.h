/* Numbers of twice the precision: the unevaluated sum of two doubles, after T. J. Dekker, "A floating-point
 * technique for extending the available precision" (1971), and D. E. Knuth, TAOCP vol. 2, 4.2.2.
 */
#ifndef PAIRS_H
#define PAIRS_H
#include "base.h"

typedef struct { f64 high, low; } pair;

/* The exact sum, where the exponent of a is not below that of b. */
IN pair ordered_sum(f64 a, f64 b) {
  f64 s = a + b;
  return (pair){s, b - (s - a)};
}

/* The exact sum. */
IN pair exact_sum(f64 a, f64 b) {
  f64 s = a + b, t = s - a;
  return (pair){s, (a - (s - t)) + (b - t)};
}

/* The exact product, unless it over- or underflows. */
IN pair exact_product(f64 a, f64 b) {
  f64 p = a * b;
  f64 t = 134217729.0 * a, a1 = t - (t - a), a2 = a - a1;
  f64 u = 134217729.0 * b, b1 = u - (u - b), b2 = b - b1;
  return (pair){p, ((a1 * b1 - p) + a1 * b2 + a2 * b1) + a2 * b2};
}

IN pair sum(pair a, pair b) {
  pair s = exact_sum(a.high, b.high), t = exact_sum(a.low, b.low);
  s = ordered_sum(s.high, s.low + t.high);
  return ordered_sum(s.high, s.low + t.low);
}

IN pair product(pair a, pair b) {
  pair p = exact_product(a.high, b.high);
  return ordered_sum(p.high, p.low + (a.high * b.low + a.low * b.high));
}

IN pair scaled(pair a, f64 b) {
  pair p = exact_product(a.high, b);
  return ordered_sum(p.high, p.low + a.low * b);
}

IN pair quotient(pair a, pair b) {
  f64 q = a.high / b.high;
  pair p = exact_product(q, b.high);
  f64 rest = ((a.high - p.high) - p.low) + (a.low - q * b.low);
  return ordered_sum(q, rest / b.high);
}

IN pair root(pair a) {
  f64 s = __builtin_sqrt(a.high);
  if (!(s > 0)) return (pair){s, 0};
  pair p = exact_product(s, s);
  return ordered_sum(s, (((a.high - p.high) - p.low) + a.low) / (2 * s));
}

#endif
