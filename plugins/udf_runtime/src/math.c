/* The functions of Python's `math` whose last bit a platform's C library decides.
 *
 * Each is computed to about 65 bits and rounded once, so the result is nearly always the double nearest to the
 * true value, and the same on every machine. The method is P. T. P. Tang's: reduce the argument to a small
 * interval with a table, then a short Taylor polynomial ("Table-driven implementation of the exponential
 * function in IEEE floating-point arithmetic", 1989, and "... of the logarithm function ...", 1990). Large angles
 * are reduced as M. Payne and R. Hanek describe ("Radian reduction for trigonometric functions", 1983).
 *
 * Errors are the caller's business: a pole gives an infinity and a domain error NaN, as in C.
 */
#include "pairs.h"
#include "math_tables.h"

/* ---- powers of two ---- */

/* (high + low) * 2**k, rounded once also where the result is subnormal; |high| < 4, -1200 < k < 1200. */
APART f64 times_power_of_two(f64 high, f64 low, i32 k) {
  if (k > 1020) return (high + low) * from_bits((u64)(k - 200 + 1023) << 52) * 0x1p200;
  if (k >= -1018) return (high + low) * from_bits((u64)(k + 1023) << 52);
  if (k < -1080) return __builtin_copysign(0.0, high);
  /* Round to the grid of subnormals while there are still bits to round with. */
  f64 least = from_bits((u64)(-1022 - k + 1023) << 52);
  f64 value = high + low;
  if (absolute(value) < least) {
    f64 grid = __builtin_copysign(least, high);
    pair s = exact_sum(grid, high);
    value = (s.high + (s.low + low)) - grid;
  }
  return value * from_bits((u64)(k + 200 + 1023) << 52) * 0x1p-200;
}

/* ---- exponentials ---- */

/* e**r - 1 - r for |r| < ln2/250. */
IN f64 exp_tail(f64 r) {
  return r * r * (0.5 + r * (1.0 / 6 + r * (1.0 / 24 + r * (1.0 / 120 + r * (1.0 / 720)))));
}

/* x = steps * ln2/128 + r. */
IN pair exp_reduced(f64 x, f64 low, i32* steps) {
  f64 n = __builtin_rint(x * exp_steps);
  *steps = (i32)n;
  return exact_sum(x - n * exp_step_high, low - n * exp_step_low);
}

/* e**(high + low) = the result * 2**k, for |high| < 800. */
IN pair exp_pair(f64 high, f64 low, i32* k) {
  i32 n;
  pair r = exp_reduced(high, low, &n);
  *k = n >> 7;
  const f64* entry = exp_table[n & 127];
  f64 tail = r.low + exp_tail(r.high);
  pair p = exact_product(entry[0], r.high);
  pair s = ordered_sum(entry[0], p.high);
  return ordered_sum(s.high, s.low + (p.low + (entry[1] + entry[0] * tail + entry[1] * r.high)));
}

/* e**x - 1, for |x| < 800 and the power of two not too large. */
APART pair expm1_pair(f64 x, f64 low) {
  i32 n;
  pair r = exp_reduced(x, low, &n);
  f64 tail = r.low + exp_tail(r.high);
  if (n == 0) return ordered_sum(r.high, tail);
  i32 k;
  pair e = exp_pair(x, low, &k);
  f64 scale = from_bits((u64)(k + 1023) << 52);
  pair s = exact_sum(e.high * scale, -1.0);
  return ordered_sum(s.high, s.low + e.low * scale);
}

OFFER f64 math_exp(f64 x) {
  if (!(absolute(x) < 746)) return x != x ? x : x > 0 ? INFINITE : 0.0;
  i32 n;
  pair r = exp_reduced(x, 0, &n);
  const f64* entry = exp_table[n & 127];
  f64 tail = entry[1] + entry[0] * (r.high + (r.low + exp_tail(r.high)));
  i32 k = n >> 7;
  if (k >= -1018 && k <= 1020) return (entry[0] + tail) * from_bits((u64)(k + 1023) << 52);
  return times_power_of_two(entry[0], tail, k);
}

OFFER f64 math_exp2(f64 x) {
  if (!(absolute(x) < 1080)) return x != x ? x : x > 0 ? INFINITE : 0.0;
  f64 n = __builtin_rint(x * 128);
  f64 f = x - n * 0x1p-7;
  pair r = scaled((pair){ln2_pair[0], ln2_pair[1]}, f);
  const f64* entry = exp_table[(i32)n & 127];
  return times_power_of_two(entry[0], entry[1] + entry[0] * (r.high + (r.low + exp_tail(r.high))), (i32)n >> 7);
}

OFFER f64 math_expm1(f64 x) {
  if (absolute(x) < 0x1p-55 || x != x) return x;
  if (x < -40) return -1.0;
  if (x > 60) return math_exp(x);
  pair e = expm1_pair(x, 0);
  return e.high + e.low;
}

OFFER f64 math_sinh(f64 x) {
  f64 a = absolute(x);
  if (a < 0x1p-28 || x != x) return x;
  if (a < 40) {
    pair e = expm1_pair(a, 0), one = exact_sum(1.0, e.high);
    one.low += e.low;
    e = sum(e, quotient(e, one));
    return __builtin_copysign(0.5 * (e.high + e.low), x);
  }
  if (a > 712) return __builtin_copysign(INFINITE, x);
  i32 k;
  pair e = exp_pair(a, 0, &k);
  return __builtin_copysign(times_power_of_two(e.high, e.low, k - 1), x);
}

OFFER f64 math_cosh(f64 x) {
  f64 a = absolute(x);
  if (x != x) return x;
  if (a > 712) return INFINITE;
  i32 k;
  pair e = exp_pair(a, 0, &k);
  if (a < 40) {
    f64 scale = from_bits((u64)(k + 1023) << 52);
    e = (pair){e.high * scale, e.low * scale};
    e = sum(e, quotient((pair){1.0, 0.0}, e));
    return 0.5 * (e.high + e.low);
  }
  return times_power_of_two(e.high, e.low, k - 1);
}

OFFER f64 math_tanh(f64 x) {
  f64 a = absolute(x);
  if (a < 0x1p-28 || x != x) return x;
  if (a > 22) return __builtin_copysign(1.0, x);
  pair e = expm1_pair(2 * a, 0), two = exact_sum(2.0, e.high);
  two.low += e.low;
  e = quotient(e, two);
  return __builtin_copysign(e.high + e.low, x);
}

/* ---- logarithms ---- */

/* log(high + low) for a positive high that is finite. */
IN pair log_pair(f64 high, f64 low) {
  i32 k = 0;
  if (high < 0x1p-1022) {
    high *= 0x1p54;
    k = -54;
  }
  u64 u = bits_of(high);
  i32 e = (i32)(u >> 52) - 1023;
  /* The mantissa goes to [0.7071, 1.4142), so that near 1 nothing cancels. */
  if ((u & 0xfffffffffffffull) >= 0x6a09e667f3bcdull) e++;
  k += e;
  f64 z = from_bits(u - ((u64)(i64)e << 52));
  low = e < 1000 ? low * from_bits((u64)(1023 - e) << 52) : 0;
  f64 n = __builtin_rint(z * 128), F = n * 0x1p-7;
  const f64* entry = log_table[(i32)n - 90];
  f64 f = z - F;
  pair r;
  if (F == 1) {
    r = ordered_sum(f, low);
  } else {
    f64 q = f * entry[0], top = from_bits(bits_of(q) & ~0x3ffull);
    r = ordered_sum(q, (((f - top * F) - (q - top) * F) + low) * entry[0]);
  }
  f64 x = r.high;
  f64 tail = x * x * x * (1.0 / 3 - x * (0.25 - x * (0.2 - x * (1.0 / 6 - x * (1.0 / 7 - x * (0.125 - x * (1.0 / 9)))))));
  pair square = exact_product(x, x);
  pair s = ordered_sum(x, -0.5 * square.high);
  s.low += (r.low - 0.5 * square.low) + (tail - x * r.low);
  f64 base = k * ln2_high + entry[1];
  if (base == 0) return ordered_sum(s.high, s.low);
  pair t = ordered_sum(base, s.high);
  return ordered_sum(t.high, t.low + (s.low + (k * ln2_low + entry[2])));
}

IN f64 log_special(f64 x) { return x == 0 ? -INFINITE : x < 0 ? NOT_A_NUMBER : x; }
IN i32 is_plain(f64 x) { return x > 0 && x < INFINITE; }

OFFER f64 math_log(f64 x) {
  if (!is_plain(x)) return log_special(x);
  pair l = log_pair(x, 0);
  return l.high + l.low;
}

OFFER f64 math_log2(f64 x) {
  if (!is_plain(x)) return log_special(x);
  pair l = product(log_pair(x, 0), (pair){log2_e[0], log2_e[1]});
  return l.high + l.low;
}

OFFER f64 math_log10(f64 x) {
  if (!is_plain(x)) return log_special(x);
  pair l = product(log_pair(x, 0), (pair){log10_e[0], log10_e[1]});
  return l.high + l.low;
}

OFFER f64 math_log1p(f64 x) {
  if (absolute(x) < 0x1p-54 || !(x < INFINITE)) return x;
  if (x <= -1) return log_special(1 + x);
  pair one = exact_sum(1.0, x), l = log_pair(one.high, one.low);
  return l.high + l.low;
}

/* ---- powers ---- */

/* C's pow, which math.pow and ** turn into Python's errors. */
OFFER f64 math_pow(f64 x, f64 y) {
  if (y == 0 || x == 1) return 1;
  if (x != x || y != y) return x + y;
  if (y == 1) return x;
  if (y == 2) return x * x;
  f64 a = absolute(x), size = absolute(y);
  i32 whole = size >= 0x1p53 || __builtin_trunc(y) == y;
  i32 odd = size < 0x1p53 && whole && ((i64)y & 1);
  f64 sign = odd ? __builtin_copysign(1.0, x) : 1.0;
  if (size == INFINITE) return a == 1 ? 1 : (a > 1) == (y > 0) ? INFINITE : 0;
  if (a == 0 || a == INFINITE) return (a == 0) == (y < 0) ? sign * INFINITE : sign * 0.0;
  if (x < 0 && !whole) return NOT_A_NUMBER;
  if (y == -1) return 1 / x;
  if (y == 0.5) return __builtin_sqrt(x);
  pair l = log_pair(a, 0);
  f64 estimate = y * l.high;
  if (!(absolute(estimate) < 760)) return estimate > 0 ? sign * INFINITE : sign * 0.0;
  if (absolute(estimate) < 0x1p-60) return sign;
  l = scaled(l, y);
  i32 k;
  pair e = exp_pair(l.high, l.low, &k);
  return sign * times_power_of_two(e.high, e.low, k);
}

OFFER f64 math_cbrt(f64 x) {
  f64 a = absolute(x);
  if (!(a > 0 && a < INFINITE)) return x;
  i32 e = 0;
  if (a < 0x1p-1022) {
    a *= 0x1p54;
    e = -54;
  }
  i32 exponent = (i32)(bits_of(a) >> 52) - 1023;
  i32 third = (exponent + 1500) / 3 - 500;
  a = from_bits(bits_of(a) - ((u64)(i64)(3 * third) << 52)); /* in [1, 8) */
  third += e / 3;
  /* A parabola through the cube roots of 1, 3.375 and 8, then Newton until the double is full. */
  f64 y = 0.696969696969697 + a * (0.327272727272727 - a * 0.0205980805980806);
  for (i32 i = 0; i < 4; i++) y -= (y * y * y - a) / (3 * y * y);
  pair cube = scaled(exact_product(y, y), y);
  f64 rest = (a - cube.high) - cube.low;
  pair r = ordered_sum(y, rest / (3 * y * y));
  return __builtin_copysign(r.high * from_bits((u64)(third + 1023) << 52), x);
}

/* ---- lengths ---- */

/* sqrt(x*x + y*y + z*z), of numbers that are not negative. */
APART f64 length(f64 x, f64 y, f64 z) {
  f64 most = x > y ? x : y;
  most = z > most ? z : most;
  if (x == INFINITE || y == INFINITE || z == INFINITE) return INFINITE;
  if (x != x || y != y || z != z) return NOT_A_NUMBER;
  if (most == 0) return 0;
  i32 k = most < 0x1p-1022 ? -1022 : (i32)(bits_of(most) >> 52) - 1023;
  f64 once = from_bits((u64)(1023 - k / 2) << 52), again = from_bits((u64)(1023 - (k - k / 2)) << 52);
  x = x * once * again, y = y * once * again, z = z * once * again;
  pair s = sum(sum(exact_product(x, x), exact_product(y, y)), exact_product(z, z));
  s = root(s);
  /* CPython has a full double before it scales back: a subnormal length is rounded twice. */
  return times_power_of_two(s.high, 0, k);
}

OFFER f64 math_hypot(f64 x, f64 y) { return length(absolute(x), absolute(y), 0); }
OFFER f64 math_hypot3(f64 x, f64 y, f64 z) { return length(absolute(x), absolute(y), absolute(z)); }

/* ---- angles ---- */

/* What is left of a large |x| after as many quarter turns as fit, and their number modulo 4. */
APART pair large_angle(f64 x, i32* turns) {
  u64 u = bits_of(x), m = (u & 0xfffffffffffffull) | 1ull << 52;
  i32 e = (i32)(u >> 52) - 1075; /* x = m * 2**e, e > -33 */
  /* m times the bits of 2/pi from bit e - 2 on; those above count whole turns of four. */
  i32 first = e - 2 < 0 ? 0 : e - 2, word = first >> 5, shift = first & 31;
  u32 slice[9];
  for (i32 i = 0; i < 9; i++) {
    u64 both = (u64)two_over_pi[word + i] << 32 | two_over_pi[word + i + 1];
    slice[i] = (u32)(both << shift >> 32);
  }
  u32 wide[11] = {0};
  for (i32 part = 0; part < 2; part++) {
    u64 factor = part ? m >> 32 : m & 0xffffffffu, carry = 0;
    for (i32 i = 8; i >= 0; i--) {
      u64 t = factor * slice[i] + wide[i + 2 - part] + carry;
      wide[i + 2 - part] = (u32)t;
      carry = t >> 32;
    }
    wide[1 - part] += (u32)carry;
  }
  /* The product is wide / 2**(288 + first - e); bring the point after two bits of a word. */
  i32 point = 64 + e - first; /* bits of `wide` before the point */
  u32 whole[8];
  for (i32 i = 0; i < 8; i++) {
    i32 at = point - 2 + 32 * i, w = at >> 5, s = at & 31;
    u64 both = (u64)wide[w] << 32 | (w + 1 < 11 ? wide[w + 1] : 0);
    whole[i] = (u32)(both << s >> 32);
  }
  i32 n = (i32)(whole[0] >> 30);
  whole[0] = whole[0] << 2 >> 2;
  i32 negative = whole[0] >> 29 & 1;
  if (negative) { /* nearer to the next quarter: count one more and go back */
    n++;
    u32 borrow = 1;
    for (i32 i = 7; i >= 0; i--) {
      u64 t = (u64)(u32)~whole[i] + borrow;
      whole[i] = (u32)t;
      borrow = (u32)(t >> 32);
    }
    whole[0] = whole[0] << 2 >> 2;
  }
  *turns = n & 3;
  pair r = {0, 0};
  for (i32 i = 7; i >= 0; i--) {
    f64 part = (f64)whole[i] * from_bits((u64)(1023 - 30 - 32 * i) << 52);
    r = sum(r, (pair){part, 0});
  }
  r = product(r, (pair){half_pi[0], half_pi[1]});
  return negative ? (pair){-r.high, -r.low} : r;
}

/* |x| without its quarter turns: between -pi/4 and pi/4. */
IN pair angle(f64 x, i32* turns) {
  *turns = 0;
  if (x < 0x1.921fb54442d18p-1) return (pair){x, 0};
  if (x >= 0x1p20) return large_angle(x, turns);
  f64 n = __builtin_rint(x * per_half_pi);
  *turns = (i32)n & 3;
  pair a = exact_sum(x - n * half_pi_parts[0], -n * half_pi_parts[1]);
  pair b = exact_sum(-n * half_pi_parts[2], -n * half_pi_parts[3]);
  return sum(a, b);
}

/* An angle between 0 and pi/4 as one of the table and the rest x + low, with sin x - x and cos (x + low) - 1. */
typedef struct { const f64* entry; f64 n, x, low, odd, even; } nearby;

IN nearby stepped(pair r) {
  f64 n = __builtin_rint(r.high * 64);
  pair b = ordered_sum(r.high - n * 0x1p-6, r.low);
  f64 x = b.high, square = x * x;
  f64 odd = x * square * (-1.0 / 6 + square * (1.0 / 120 - square * (1.0 / 5040)));
  f64 even = square * (-0.5 + square * (1.0 / 24 - square * (1.0 / 720))) - x * b.low;
  return (nearby){sin_table[(i32)n], n, x, b.low, odd, even};
}

/* sin and cos of an angle between 0 and pi/4. */
IN pair sine(pair r) {
  nearby t = stepped(r);
  if (t.n == 0) return ordered_sum(t.x, t.low + t.odd);
  const f64* e = t.entry;
  pair p = exact_product(e[2], t.x), s = ordered_sum(e[0], p.high);
  return ordered_sum(s.high, s.low + (p.low + (e[1] + e[0] * t.even + e[2] * (t.low + t.odd) + e[3] * t.x)));
}

IN pair cosine(pair r) {
  nearby t = stepped(r);
  if (t.n == 0) return ordered_sum(1, t.even);
  const f64* e = t.entry;
  pair p = exact_product(e[0], -t.x), c = ordered_sum(e[2], p.high);
  return ordered_sum(c.high, c.low + (p.low + (e[3] + e[2] * t.even - e[0] * (t.low + t.odd) - e[1] * t.x)));
}

/* The sine of an angle that is left after quarter turns, or with odd turns the cosine. */
IN f64 turned(pair r, i32 odd, i32 negative) {
  f64 sign = r.high < 0 ? -1 : 1;
  r = (pair){r.high * sign, r.low * sign};
  pair found = odd ? cosine(r) : sine(r);
  f64 value = found.high + found.low;
  return negative ^ (!odd && sign < 0) ? -value : value;
}

OFFER f64 math_sin(f64 x) {
  f64 a = absolute(x);
  if (a < 0x1p-27) return x;
  if (!(a < INFINITE)) return NOT_A_NUMBER;
  i32 n;
  pair r = angle(a, &n);
  return turned(r, n & 1, (n >> 1 & 1) ^ (x < 0));
}

OFFER f64 math_cos(f64 x) {
  f64 a = absolute(x);
  if (!(a < INFINITE)) return NOT_A_NUMBER;
  i32 n;
  pair r = angle(a, &n);
  return turned(r, !(n & 1), (n + 1) >> 1 & 1);
}

OFFER f64 math_tan(f64 x) {
  f64 a = absolute(x);
  if (a < 0x1p-27) return x;
  if (!(a < INFINITE)) return NOT_A_NUMBER;
  i32 n;
  pair r = angle(a, &n);
  i32 negative = (n & 1) ^ (x < 0) ^ (r.high < 0);
  if (r.high < 0) r = (pair){-r.high, -r.low};
  pair s = sine(r), c = cosine(r), q = n & 1 ? quotient(c, s) : quotient(s, c);
  return negative ? -(q.high + q.low) : q.high + q.low;
}

/* arctan of a number from 0 to 1. */
IN pair arctan(pair q) {
  f64 n = __builtin_rint(q.high * 64), c = n * 0x1p-6;
  pair t = q;
  if (n != 0) {
    pair down = scaled(q, c);
    pair one = exact_sum(1.0, down.high);
    one.low += down.low;
    pair up = ordered_sum(q.high - c, q.low);
    t = quotient(up, one);
  }
  f64 x = t.high, square = x * x;
  f64 tail = x * square * (-1.0 / 3 + square * (0.2 + square * (-1.0 / 7 + square * (1.0 / 9))));
  if (n == 0) return ordered_sum(x, t.low + tail);
  const f64* entry = atan_table[(i32)n];
  pair s = ordered_sum(entry[0], x);
  return ordered_sum(s.high, s.low + (entry[1] + (t.low + tail)));
}

/* The angle of the point (x, y), where y >= 0 and neither is NaN nor both are zero or infinite. */
IN pair direction(pair y, pair x) {
  i32 left = x.high < 0, steep;
  if (left) x = (pair){-x.high, -x.low};
  steep = y.high > x.high;
  pair a = arctan(steep ? quotient(x, y) : quotient(y, x));
  pair minus = {-a.high, -a.low};
  if (steep) return sum((pair){half_pi[0], half_pi[1]}, left ? a : minus);
  return left ? sum((pair){pi_pair[0], pi_pair[1]}, minus) : a;
}

OFFER f64 math_atan(f64 x) {
  f64 a = absolute(x);
  if (a < 0x1p-27 || x != x) return x;
  if (a > 0x1p60) return __builtin_copysign(half_pi[0], x);
  pair r = direction((pair){a, 0}, (pair){1, 0});
  return __builtin_copysign(r.high + r.low, x);
}

OFFER f64 math_atan2(f64 y, f64 x) {
  if (x != x || y != y) return NOT_A_NUMBER;
  f64 a = absolute(y), b = absolute(x);
  i32 left = bits_of(x) >> 63;
  if (a == 0) return __builtin_copysign(left ? pi_pair[0] : 0.0, y);
  if (b == 0) return __builtin_copysign(half_pi[0], y);
  if (a == INFINITE && b == INFINITE) return __builtin_copysign(left ? 0x1.2d97c7f3321d2p+1 : 0x1.921fb54442d18p-1, y);
  if (a == INFINITE) return __builtin_copysign(half_pi[0], y);
  if (b == INFINITE) return __builtin_copysign(left ? pi_pair[0] : 0.0, y);
  i32 gap = (i32)(bits_of(a) >> 52) - (i32)(bits_of(b) >> 52);
  if (gap > 64) return __builtin_copysign(half_pi[0], y);
  if (gap < -64) return __builtin_copysign(left ? pi_pair[0] : a / b, y);
  f64 scale = (bits_of(a) >> 52) > 1023 ? 0x1p-300 : 0x1p300;
  pair r = direction((pair){a * scale, 0}, (pair){x * scale, 0});
  return __builtin_copysign(r.high + r.low, y);
}

/* sqrt(1 - x*x) */
IN pair across(f64 x) {
  pair square = exact_product(x, x);
  pair s = exact_sum(1.0, -square.high);
  return root(ordered_sum(s.high, s.low - square.low));
}

OFFER f64 math_asin(f64 x) {
  f64 a = absolute(x);
  if (a < 0x1p-27 || x != x) return x;
  if (a > 1) return NOT_A_NUMBER;
  pair r = direction((pair){a, 0}, across(a));
  return __builtin_copysign(r.high + r.low, x);
}

OFFER f64 math_acos(f64 x) {
  if (!(absolute(x) <= 1)) return NOT_A_NUMBER;
  if (x == 1) return 0;
  pair r = direction(across(x), (pair){x, 0});
  return r.high + r.low;
}

/* ---- whole numbers ---- */

/* The greatest common divisor, after J. Stein; 2**63 comes out as the negative number of the same bits. */
OFFER i64 math_gcd(i64 a, i64 b) {
  u64 x = a < 0 ? -(u64)a : (u64)a, y = b < 0 ? -(u64)b : (u64)b;
  if (!x || !y) return (i64)(x | y);
  i32 twos = __builtin_ctzll(x | y);
  x >>= __builtin_ctzll(x);
  while (y) {
    y >>= __builtin_ctzll(y);
    u64 low = x < y ? x : y;
    y = x < y ? y - x : x - y;
    x = low;
  }
  return (i64)(x << twos);
}
