/* Numbers as text and text as numbers, as CPython reads and writes them. */
#include "text.h"
#include "number_tables.h"

typedef struct { u64 high, low; } wide;

IN wide times(u64 a, u64 b) {
  u64 a0 = (u32)a, a1 = a >> 32, b0 = (u32)b, b1 = b >> 32;
  u64 p00 = a0 * b0, p01 = a0 * b1, p10 = a1 * b0, p11 = a1 * b1;
  __asm__("" : "+r"(p01)); /* or the compiler sees what this is and calls a function for it, which is not there */
  u64 middle = (p00 >> 32) + (u32)p01 + (u32)p10;
  return (wide){p11 + (p01 >> 32) + (p10 >> 32) + (middle >> 32), middle << 32 | (u32)p00};
}

/* ---- long numbers: limbs of 32 bits, the lowest first ---- */

enum { LIMBS = 132 };
typedef struct { u32 size, limb[LIMBS]; } number;

APART void multiply_add(number* n, u32 factor, u32 more) {
  u64 carry = more;
  for (u32 i = 0; i < n->size; i++) {
    carry += (u64)n->limb[i] * factor;
    n->limb[i] = (u32)carry;
    carry >>= 32;
  }
  if (carry) n->limb[n->size++] = (u32)carry;
}
APART void multiply_by_ten(number* n, u32 power) {
  for (; power >= 9; power -= 9) multiply_add(n, 1000000000, 0);
  for (; power; power--) multiply_add(n, 10, 0);
}
APART i32 is_at_least(const number* a, const number* b) {
  if (a->size != b->size) return a->size > b->size;
  for (u32 i = a->size; i--;)
    if (a->limb[i] != b->limb[i]) return a->limb[i] > b->limb[i];
  return 1;
}
APART void take_away(number* a, const number* b) {
  u64 borrow = 0;
  for (u32 i = 0; i < a->size; i++) {
    u64 t = (u64)a->limb[i] - (i < b->size ? b->limb[i] : 0) - borrow;
    a->limb[i] = (u32)t;
    borrow = t >> 63;
  }
  while (a->size && !a->limb[a->size - 1]) a->size--;
}
APART void shift_up(number* n, u32 bits) {
  u32 words = bits >> 5, rest = bits & 31;
  if (!n->size) return;
  u32 carry = 0;
  for (u32 i = 0; i < n->size; i++) {
    u32 limb = n->limb[i];
    n->limb[i] = limb << rest | carry;
    carry = rest ? limb >> (32 - rest) : 0;
  }
  if (carry) n->limb[n->size++] = carry;
  if (!words) return;
  for (u32 i = n->size; i--;) n->limb[i + words] = n->limb[i];
  for (u32 i = 0; i < words; i++) n->limb[i] = 0;
  n->size += words;
}
IN u32 bit_length(const number* n) { return n->size * 32 - (u32)__builtin_clz(n->limb[n->size - 1]); }

/* ---- text to float ---- */

/* mantissa * 2**exponent, rounded to even; `more` says that the mantissa lacks something. Bit 63 is set. */
IN f64 assembled(u64 mantissa, i32 exponent, i32 more) {
  i32 biased = exponent + 63 + 1023;
  u32 drop = biased >= 1 ? 11 : (u32)(12 - biased);
  if (drop > 64) return 0;
  u64 kept = drop == 64 ? 0 : mantissa >> drop, rest = drop == 64 ? mantissa : mantissa << (64 - drop);
  u64 half = 1ull << 63;
  if (rest > half || (rest == half && (more || (kept & 1)))) kept++;
  if (biased >= 1) kept += (u64)(biased - 1) << 52;
  return kept >= 0x7ff0000000000000ull ? INFINITE : from_bits(kept);
}

/* digits * 10**power exactly, by long division: slow, and rarely needed. */
APART f64 divided(number* digits, i32 power) {
  number below = {1, {1}};
  if (!digits->size) return 0;
  if (power >= 0) multiply_by_ten(digits, (u32)power);
  else multiply_by_ten(&below, (u32)-power);
  i32 scale = (i32)bit_length(digits) - (i32)bit_length(&below);
  if (scale > 0) shift_up(&below, (u32)scale);
  else shift_up(digits, (u32)-scale);
  if (!is_at_least(digits, &below)) shift_up(digits, 1), scale--;
  u64 quotient = 0;
  for (i32 i = 0; i < 64; i++) {
    quotient <<= 1;
    if (is_at_least(digits, &below)) take_away(digits, &below), quotient |= 1;
    shift_up(digits, 1);
  }
  return assembled(quotient, scale - 63, digits->size != 0);
}

/* w * 10**q, after D. Lemire, "Number parsing at a gigabyte per second" (2021); -1 if that cannot decide it. */
APART f64 from_decimal(u64 w, i32 q) {
  if (!w || q < FIRST_POWER) return 0;
  if (q > 308) return INFINITE;
  i32 zeros = __builtin_clzll(w);
  w <<= zeros;
  const u64* power = powers_of_ten[q - FIRST_POWER];
  wide z = times(w, power[0]);
  if ((z.high & 0x1ff) == 0x1ff) {
    u64 more = times(w, power[1]).high;
    z.low += more;
    z.high += z.low < more;
  }
  if (z.low == ~0ull && (q < -27 || q > 55)) return -1;
  i32 upper = (i32)(z.high >> 63);
  u64 mantissa = z.high >> (upper + 9);
  i32 exponent = ((217706 * q) >> 16) + 63 + upper - zeros + 1023;
  if (exponent <= 0) {
    if (1 - exponent >= 64) return 0;
    mantissa >>= 1 - exponent;
    mantissa = (mantissa + (mantissa & 1)) >> 1;
    return from_bits(mantissa);
  }
  if (z.low <= 1 && q >= -4 && q <= 23 && (mantissa & 3) == 1 && mantissa << (upper + 9) == z.high) mantissa &= ~1ull;
  mantissa = (mantissa + (mantissa & 1)) >> 1;
  u64 found = mantissa + ((u64)(exponent - 1) << 52);
  return found >= 0x7ff0000000000000ull ? INFINITE : from_bits(found);
}

/* A text on its way to a number: white space around is gone, and any decimal digit reads as one of ASCII. */
typedef struct { const u8 *p, *end; } reader;

APART u32 far_character(reader* r) {
  const u8* p = r->p;
  u32 c = next_character(&p);
  for (u32 i = 0; i < sizeof(decimal_zeros) / 4; i++)
    if (c - decimal_zeros[i] < 10) return '0' + (c - decimal_zeros[i]);
  return 0xffff;
}
/* The next character, 0 at the end; nothing else reads as 0. */
IN u32 peek(reader* r) {
  if (r->p == r->end) return 0;
  u8 c = *r->p;
  return c >= 0x80 ? far_character(r) : c ? c : 0xffff;
}
IN void step(reader* r) { r->p += width_of(*r->p); }
IN i32 is_digit(u32 c) { return c - '0' < 10; }

/* What float() and int() skip: not the separators 28 to 31, which str.strip() takes for white space. */
IN i32 is_skipped(u32 c) { return c < 128 ? c == ' ' || (c >= 9 && c <= 13) : is_space(c); }
IN reader reader_of(str s) {
  reader r = {start_of(s), start_of(s) + size_of(s)};
  while (r.p < r.end) {
    const u8* q = r.p;
    if (!is_skipped(next_character(&q))) break;
    r.p = q;
  }
  while (r.p < r.end) {
    const u8* q = r.end;
    if (!is_skipped(character_before(&q))) break;
    r.end = q;
  }
  return r;
}

/* Go past a digit, and past an underscore if a digit follows. 0 if an underscore stands elsewhere. */
IN i32 step_digit(reader* r) {
  step(r);
  if (peek(r) != '_') return 1;
  step(r);
  return is_digit(peek(r));
}

APART i32 reads_word(reader* r, const char* word) {
  const u8* p = r->p;
  for (; *word; word++, p++)
    if (p == r->end || (*p | 32) != *word) return 0;
  return p == r->end;
}

/* The digits of a number again, as a long one; `drop` of them are cut off at the end. */
APART f64 reread(reader r, i32 power) {
  number digits = {0, {0}};
  u32 count = 0, lost = 0, point = 0;
  for (u32 c; is_digit(c = peek(&r)) || c == '.' || c == '_'; step(&r)) {
    if (c == '.') point = 1;
    if (c == '.' || c == '_') continue;
    if (count >= 780) {
      lost |= c - '0';
      if (!point) power++;
      continue;
    }
    if (point) power--;
    if (!count && c == '0') continue;
    count++;
    multiply_add(&digits, 10, c - '0');
  }
  if (lost) { /* a digit more stands for all that was left out */
    multiply_add(&digits, 10, 1);
    power--;
  }
  return divided(&digits, power);
}

OFFER f64 text_to_float(str s) {
  reader r = reader_of(s);
  CELLS->status = 0;
  f64 sign = 1;
  u32 c = peek(&r);
  if (c == '+' || c == '-') {
    if (c == '-') sign = -1;
    step(&r);
  }
  reader begin = r;
  u64 w = 0;
  i32 kept = 0, power = 0, digits = 0, many = 0;
  for (; is_digit(c = peek(&r)); digits++) {
    if (kept < 19) {
      w = w * 10 + (c - '0');
      if (w) kept++;
    } else {
      many = 1, power++;
    }
    if (!step_digit(&r)) goto wrong;
  }
  if (c == '.') {
    step(&r);
    for (; is_digit(c = peek(&r)); digits++) {
      if (kept < 19) {
        w = w * 10 + (c - '0');
        if (w) kept++;
        power--;
      } else {
        many = 1;
      }
      if (!step_digit(&r)) goto wrong;
    }
  }
  if (!digits) {
    if (reads_word(&begin, "inf") || reads_word(&begin, "infinity")) return sign * INFINITE;
    if (reads_word(&begin, "nan")) return NOT_A_NUMBER;
    goto wrong;
  }
  i32 written = 0;
  if (c == 'e' || c == 'E') {
    step(&r);
    c = peek(&r);
    i32 negative = c == '-';
    if (c == '+' || c == '-') step(&r);
    if (!is_digit(peek(&r))) goto wrong;
    while (is_digit(c = peek(&r))) {
      if (written < 100000000) written = written * 10 + (i32)(c - '0');
      if (!step_digit(&r)) goto wrong;
    }
    if (negative) written = -written;
  }
  if (r.p != r.end) goto wrong;
  power += written;
  if (!many && w <= 1ull << 53 && power >= -22 && power <= 22) {
    static const f64 exact[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    return sign * (power < 0 ? (f64)w / exact[-power] : (f64)w * exact[power]);
  }
  f64 found = from_decimal(w, power);
  if (many && found != from_decimal(w + 1, power)) found = -1;
  if (found < 0) found = reread(begin, written);
  return sign * found;
wrong:
  CELLS->status = 1, CELLS->quoted = s;
  return 0;
}

/* ---- text to int ---- */

IN u32 digit_value(u32 c) { return is_digit(c) ? c - '0' : (c | 32) - 'a' < 26 ? (c | 32) - 'a' + 10 : 99; }

OFFER i64 text_to_int(str s, u32 base) {
  reader r = reader_of(s);
  u32 c = peek(&r), negative = c == '-', any = 0, strict = 0;
  CELLS->status = 0;
  if (c == '+' || c == '-') step(&r);
  if (peek(&r) == '0' && (base == 0 || base == 2 || base == 8 || base == 16)) {
    reader after = r;
    step(&after);
    u32 mark = peek(&after) | 32;
    u32 named = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 0;
    if (named && (base == 0 || base == named)) {
      step(&after);
      if (peek(&after) == '_') step(&after);
      base = named;
      r = after;
    } else if (base == 0) {
      strict = 1; /* 0 may not lead another digit */
    }
  }
  if (base == 0) base = 10;
  u64 value = 0;
  u32 wide_ = 0, count = 0;
  while ((c = digit_value(peek(&r))) < base) {
    any = 1;
    if (value > (0x8000000000000000ull - c) / base) wide_ = 1;
    value = value * base + c;
    if (strict && c) break;
    if (++count > 4300 && (base & (base - 1))) break; /* CPython refuses to read on, too */
    step(&r);
    if (peek(&r) == '_') {
      step(&r);
      if (digit_value(peek(&r)) >= base) any = 0;
    }
  }
  if (!any || r.p != r.end) {
    CELLS->status = 1, CELLS->quoted = s;
    return 0;
  }
  if (!negative && value > 0x7fffffffffffffffull) wide_ = 1;
  if (wide_) CELLS->status = 2;
  return negative ? (i64)-value : (i64)value;
}

/* int() of up to eight digits, which are taken all at once; the rest goes the long way. */
OFFER i64 text_to_decimal(str s) {
  u32 size = size_of(s);
  if (size - 1 < 8) {
    u64 x, zeros = 0x3030303030303030ull;
    __builtin_memcpy(&x, start_of(s), 8);
    u32 shift = 64 - 8 * size;
    x = x << shift | (zeros & ((1ull << shift) - 1));
    x ^= zeros;
    if (!((x | (x + 0x0606060606060606ull)) & 0xf0f0f0f0f0f0f0f0ull)) {
      x = (x * 10 + (x >> 8)) & 0x00ff00ff00ff00ffull;
      x = (x * 100 + (x >> 16)) & 0x0000ffff0000ffffull;
      x = (x * 10000 + (x >> 32)) & 0xffffffffull;
      CELLS->status = 0;
      return (i64)x;
    }
  }
  return text_to_int(s, 10);
}

/* ---- int to text ---- */

/* The digits of n, written so that they end at `end`. */
IN u8* put_digits_before(u8* end, u64 n, u32 base, u32 capital) {
  do {
    u32 digit = (u32)(n % base);
    *--end = (u8)(digit < 10 ? '0' + digit : (capital ? 'A' : 'a') + digit - 10);
    n /= base;
  } while (n);
  return end;
}
IN u8* put_decimal_before(u8* end, u64 n) {
  while (n > 0xffffffff) {
    *--end = (u8)('0' + n % 10);
    n /= 10;
  }
  u32 m = (u32)n;
  do {
    *--end = (u8)('0' + m % 10);
    m /= 10;
  } while (m);
  return end;
}

IN u32 decimal_size(u64 n) {
  static const u64 powers[] = {0, 10ull, 100ull, 1000ull, 10000ull, 100000ull, 1000000ull, 10000000ull, 100000000ull,
                               1000000000ull, 10000000000ull, 100000000000ull, 1000000000000ull, 10000000000000ull,
                               100000000000000ull, 1000000000000000ull, 10000000000000000ull, 100000000000000000ull,
                               1000000000000000000ull, 10000000000000000000ull};
  u32 least = (64 - (u32)__builtin_clzll(n | 1)) * 1233 >> 12; /* log10 of 2 */
  return least + (n >= powers[least]);
}

/* The eight digits of a number that has no more, the first in the lowest byte, computed side by side. */
IN u64 eight_digits(u32 n) {
  u64 fours = n / 10000 | (u64)(n % 10000) << 32;
  u64 hundreds = (fours * 10486 >> 20) & 0x7f0000007full;
  u64 twos = hundreds | (fours - 100 * hundreds) << 16;
  u64 tens = (twos * 103 >> 10) & 0x000f000f000f000full;
  return (tens | (twos - 10 * tens) << 8) + 0x3030303030303030ull;
}
IN void put_eight(u8* to, u64 digits) { __builtin_memcpy(to, &digits, 8); }

OFFER str text_from_int(i64 n) {
  u64 absolute_ = n < 0 ? -(u64)n : (u64)n;
  u32 size = decimal_size(absolute_);
  u8 *out = room(24), *end = out + (n < 0) + size;
  if (!out) return NO_MEMORY;
  *out = '-';
  if (size <= 8) put_eight(end - size, eight_digits((u32)absolute_) >> (64 - 8 * size));
  else put_decimal_before(end, absolute_);
  return made(out, end, KNOWN_ASCII);
}

/* ---- float to its shortest decimal ---- */

IN u64 round_to_odd(wide g, u64 c) {
  u64 x = times(g.low, c).high;
  wide y = times(g.high, c);
  y.low += x;
  y.high += y.low < x;
  return y.high | (y.low > 1);
}

/* The shortest decimal that reads as x, the nearest of these: R. Giulietti, "The Schubfach way to render doubles"
 * (2020). x is positive and finite; the result is digits * 10**power. */
APART u64 shortest(f64 x, i32* power) {
  u64 bits = bits_of(x), fraction = bits & 0xfffffffffffffull;
  i32 biased = (i32)(bits >> 52);
  u64 c = biased ? fraction | 1ull << 52 : fraction;
  i32 q = biased ? biased - 1075 : -1074;
  if (q <= 0 && q > -53 && !(c & ((1ull << -q) - 1))) {
    *power = 0;
    return c >> -q;
  }
  i32 even = !(c & 1), closer = !fraction && biased > 1;
  u64 left = 4 * c - 2 + (u64)closer, middle = 4 * c, right = 4 * c + 2;
  i32 k = (q * 1262611 - (closer ? 524031 : 0)) >> 22;
  i32 h = q + ((-k * 1741647) >> 19) + 1;
  const u64* entry = powers_of_ten[-k - FIRST_POWER];
  wide g = {entry[0], entry[1]};
  if (-k > 55) g.low++, g.high += !g.low; /* rounded up, as negative powers are, unless it is exact */
  u64 low = round_to_odd(g, left << h) + !even;
  u64 v = round_to_odd(g, middle << h);
  u64 high = round_to_odd(g, right << h) - !even;
  u64 s = v / 4;
  *power = k;
  if (s >= 10) {
    u64 ten = s / 10;
    i32 down = low <= 40 * ten, up = 40 * ten + 40 <= high;
    if (down != up) {
      *power = k + 1;
      return ten + (u64)up;
    }
  }
  i32 down = low <= 4 * s, up = 4 * s + 4 <= high;
  if (down != up) return s + (u64)up;
  u64 half = 4 * s + 2;
  return s + (v > half || (v == half && (s & 1)));
}

/* ---- digits and where the point is, as every format begins ---- */

enum { MOST_DIGITS = 1152 };
typedef struct {
  i32 size;  /* of the digits, the first of which is not 0 unless the number is */
  i32 point; /* how many digits are before the point, perhaps less than none or more than all */
  u8 digit[MOST_DIGITS];
} decimal;

APART void decimal_shortest(decimal* d, f64 x) {
  i32 power;
  u8 buffer[24], *end = buffer + 24, *p;
  if (x == 0) {
    d->size = d->point = 1, d->digit[0] = '0';
    return;
  }
  p = put_decimal_before(end, shortest(x, &power));
  d->point = (i32)(end - p) + power;
  while (end[-1] == '0') end--;
  d->size = (i32)(end - p);
  for (i32 i = 0; p < end;) d->digit[i++] = *p++;
}

/* All digits of x, exactly: m * 2**e is m * 5**-e with the point moved. */
APART void decimal_exact(decimal* d, f64 x) {
  u64 bits = bits_of(x), m = bits & 0xfffffffffffffull;
  i32 e = (i32)(bits >> 52);
  e = e ? (m |= 1ull << 52, e - 1075) : -1074;
  if (!m) {
    d->size = d->point = 1, d->digit[0] = '0';
    return;
  }
  i32 zeros = __builtin_ctzll(m);
  m >>= zeros, e += zeros;
  number n = {2, {(u32)m, (u32)(m >> 32)}};
  if (!n.limb[1]) n.size = 1;
  i32 moved = 0;
  if (e > 0) shift_up(&n, (u32)e);
  for (moved = e < 0 ? -e : 0, e = moved; e >= 13; e -= 13) multiply_add(&n, 1220703125, 0);
  for (; e > 0; e--) multiply_add(&n, 5, 0);
  u8 *end = d->digit + MOST_DIGITS, *p = end;
  while (n.size) { /* nine digits at a time, from the end */
    u64 rest = 0;
    for (u32 i = n.size; i--;) {
      rest = rest << 32 | n.limb[i];
      n.limb[i] = (u32)(rest / 1000000000);
      rest %= 1000000000;
    }
    if (!n.limb[n.size - 1]) n.size--;
    u32 nine = (u32)rest;
    for (i32 i = 0; i < 9; i++) {
      *--p = (u8)('0' + nine % 10);
      nine /= 10;
    }
  }
  while (*p == '0') p++;
  d->point = (i32)(end - p) - moved;
  while (end[-1] == '0') end--;
  d->size = (i32)(end - p);
  for (i32 i = 0; p < end;) d->digit[i++] = *p++;
}

/* x * 10**decimals, rounded, if that is at hand in 128 bits: m * 2**e * 10**p is m * 5**p shifted by e + p. */
IN i32 scaled_quick(u64* found, f64 x, i32 decimals) {
  static const u64 fives[] = {1, 5, 25, 125, 625, 3125, 15625, 78125, 390625, 1953125, 9765625, 48828125, 244140625};
  u64 bits = bits_of(x), m = (bits & 0xfffffffffffffull) | 1ull << 52;
  i32 shift = 1075 - (i32)(bits >> 52) - decimals;
  if (decimals > 12 || shift <= 0 || shift > 116) return 0;
  wide z = times(m, fives[decimals]);
  u64 q, rest, half;
  i32 more = 0;
  if (shift < 64) {
    if (z.high >> shift) return 0;
    q = z.high << (64 - shift) | z.low >> shift;
    rest = z.low << (64 - shift);
  } else {
    u32 up = shift - 64u;
    q = z.high >> up;
    rest = up ? z.high << (64 - up) | z.low >> up : z.low;
    more = up && z.low << (64 - up);
  }
  half = 1ull << 63;
  *found = q + (rest > half || (rest == half && (more || (q & 1))));
  return 1;
}

APART i32 decimal_quick(decimal* d, f64 x, i32 decimals) {
  u64 q;
  if (!scaled_quick(&q, x, decimals)) return 0;
  d->size = 0, d->point = -decimals;
  if (!q) return 1;
  u8 buffer[24], *end = buffer + 24, *p = put_decimal_before(end, q);
  d->size = (i32)(end - p), d->point += d->size;
  for (i32 i = 0; p < end;) d->digit[i++] = *p++;
  return 1;
}

/* Keep so many digits, rounding to the nearest, to the even one of two. What is left may be no digit at all. */
APART void decimal_round(decimal* d, i32 keep_) {
  if (keep_ >= d->size) return;
  if (keep_ < 0) {
    d->size = 0;
    return;
  }
  u8 next = d->digit[keep_];
  i32 up = next > '5';
  if (next == '5') up = keep_ + 1 < d->size || (keep_ > 0 && (d->digit[keep_ - 1] & 1));
  d->size = keep_;
  if (!up) return;
  while (d->size && d->digit[d->size - 1] == '9') d->size--;
  if (d->size) {
    d->digit[d->size - 1]++;
  } else {
    d->digit[0] = '1', d->size = 1, d->point++;
  }
}

/* ---- formats ---- */

/* A format that was read when the function was compiled; see formats.py. */
typedef struct {
  i32 width, precision; /* -1 if not given */
  u8 fill[4], fill_size, align, sign, type, grouping, alternate, no_negative_zero, percent;
} format;

/* Digits from `from` on, zeros where there are none. */
IN u8* put_digit_range(u8* w, const decimal* d, i32 from, i32 to) {
  for (i32 i = from; i < to; i++) *w++ = i >= 0 && i < d->size ? d->digit[i] : '0';
  return w;
}

/* The number without sign. `end` is how many digits to show at least, counted as the digits are. */
APART u8* put_number(u8* w, const decimal* d, i32 end, i32 exponent, i32 dot_zero, i32 alternate, u8 letter) {
  i32 point = exponent ? 1 : d->point;
  if (end < d->size) end = d->size;
  i32 least = !exponent && dot_zero ? point + 1 : point;
  if (end < least) end = least;
  if (point <= 0) {
    *w++ = '0', *w++ = '.';
    w = put_digit_range(w, d, point, end);
  } else {
    w = put_digit_range(w, d, 0, point);
    *w++ = '.';
    w = put_digit_range(w, d, point, end);
  }
  if (w[-1] == '.' && !alternate) w--;
  if (exponent) {
    i32 e = d->point - 1;
    *w++ = letter;
    *w++ = e < 0 ? '-' : '+';
    if (e < 0) e = -e;
    if (e >= 100) *w++ = (u8)('0' + e / 100);
    *w++ = (u8)('0' + e / 10 % 10);
    *w++ = (u8)('0' + e % 10);
  }
  return w;
}

APART u8* put_plain(u8* w, f64 x, u32 capital) {
  const char* word = x != x ? (capital ? "NAN" : "nan") : capital ? "INF" : "inf";
  for (i32 i = 0; i < 3; i++) *w++ = (u8)word[i];
  return w;
}

/* |x| in one of Python's ways; 0 if all digits that are shown are 0. */
APART u8* put_float(u8* w, f64 x, const format* f, i32* zero) {
  decimal d;
  u8 type = f->type | 32, letter = f->type == 'E' || f->type == 'G' ? 'E' : 'e';
  i32 precision = f->precision, dot_zero = 0;
  if (f->type == 0) {
    dot_zero = 1;
    if (precision < 0) type = 'r';
    else type = 'g';
  } else if (precision < 0) {
    precision = 6;
  }
  i32 end = 0, exponent = 0;
  if (type == 'f' && decimal_quick(&d, x, precision)) {
    end = d.point + precision;
  } else if (type == 'r') {
    decimal_shortest(&d, x);
    exponent = d.point <= -4 || d.point > 16;
  } else {
    decimal_exact(&d, x);
    if (type == 'f') {
      decimal_round(&d, x == 0 ? precision + 1 : d.point + precision);
      if (!d.size) d.point = -precision;
      end = d.point + precision;
    } else if (type == 'e') {
      decimal_round(&d, precision + 1);
      end = precision + 1;
      exponent = 1;
    } else {
      if (precision == 0) precision = 1;
      decimal_round(&d, precision);
      while (d.size > 1 && d.digit[d.size - 1] == '0') d.size--;
      exponent = d.point <= -4 || d.point > precision - dot_zero;
      if (f->alternate) end = precision;
    }
  }
  *zero = !d.size || d.digit[0] == '0';
  return put_number(w, &d, end, exponent, dot_zero, f->alternate, letter);
}

/* Put a number together: sign, prefix, digits in groups, the rest, and the padding. */
APART str laid_out(const format* f, u32 negative, const u8* prefix, u32 prefixed, const u8* body, u32 size, u32 every) {
  u32 digits = 0;
  while (digits < size && (is_digit(body[digits]) || (every == 4 && digit_value(body[digits]) < 16))) digits++;
  if (!f->grouping) every = 1u << 30;
  u8 sign = negative ? '-' : f->sign == '+' || f->sign == ' ' ? f->sign : 0;
  u32 fixed = (sign != 0) + prefixed + (size - digits);
  u64 width = f->width > 0 ? (u64)f->width : 0;
  u32 zeros = f->fill_size == 1 && f->fill[0] == '0' && f->align == '=';
  /* The digits with their separators, at least as many as a width filled with zeros asks for. */
  u64 least = zeros && width > fixed ? width - fixed : 0;
  u64 shown = digits;
  if (digits) {
    u64 grouped = digits + (digits - 1) / every;
    if (grouped < least) {
      shown = least - least / (every + 1);
      if (least % (every + 1) == 0) shown++; /* no separator stands first */
    }
  }
  u64 grouped = shown ? shown + (shown - 1) / every : 0, used = fixed + grouped;
  u64 padding = width > used ? width - used : 0;
  u8* out = room(used + padding * f->fill_size);
  if (!out) return NO_MEMORY;
  u8* w = out;
  u64 before = f->align == '<' || f->align == '=' ? 0 : f->align == '^' ? padding / 2 : padding;
  u64 inside = f->align == '=' ? padding : 0;
  for (u64 i = 0; i < before; i++) w = put(w, f->fill, f->fill_size);
  if (sign) *w++ = sign;
  for (u32 i = 0; i < prefixed; i++) *w++ = prefix[i];
  for (u64 i = 0; i < inside; i++) w = put(w, f->fill, f->fill_size);
  for (u64 left = shown; left; left--) {
    *w++ = left > digits ? '0' : body[digits - left];
    if (left > 1 && (left - 1) % every == 0) *w++ = f->grouping;
  }
  for (u32 i = digits; i < size; i++) *w++ = body[i];
  for (u64 i = before + inside; i < padding; i++) w = put(w, f->fill, f->fill_size);
  return made(out, w, f->fill[0] < 0x80 ? KNOWN_ASCII : 0);
}

APART str formatted(f64 x, const format* f);

/* A float with a fixed number of decimals and nothing around, as most are written. */
OFFER str text_format_float(f64 x, const format* f) {
  u64 q;
  u32 decimals = f->precision < 0 ? 6 : (u32)f->precision;
  if (f->type != 'f' || !decimals || f->width > 0 || f->grouping || f->percent || f->sign != '-' ||
      !scaled_quick(&q, absolute(x), (i32)decimals))
    return formatted(x, f);
  u32 negative = bits_of(x) >> 63 && !(f->no_negative_zero && !q), digits = decimal_size(q);
  if (digits <= decimals) digits = decimals + 1;
  u8 *out = room(48), *end = out + negative + digits + 1, *w = end;
  if (!out) return NO_MEMORY;
  *out = '-';
  if (digits <= 8) {
    u64 all = eight_digits((u32)q);
    u8* point = end - decimals - 1;
    put_eight(out + negative, all >> (64 - 8 * digits));
    put_eight(point + 1, all >> (64 - 8 * decimals));
    *point = '.';
    return made(out, end, KNOWN_ASCII);
  }
  u32 left = decimals;
  for (; q > 0xffffffff && left; left--) *--w = (u8)('0' + q % 10), q /= 10;
  if (q <= 0xffffffff) {
    u32 n = (u32)q;
    for (; left; left--) *--w = (u8)('0' + n % 10), n /= 10;
    q = n;
  }
  *--w = '.';
  put_decimal_before(w, q);
  return made(out, end, KNOWN_ASCII);
}

APART str formatted(f64 x, const format* f) {
  u8 body[MOST_DIGITS + 512], *w = body;
  u32 negative = bits_of(x) >> 63 && x == x, capital = f->type >= 'A' && f->type <= 'Z';
  if (f->percent) x *= 100;
  f64 a = absolute(x);
  i32 zero = 0;
  if (a < INFINITE) w = put_float(w, a, f, &zero);
  else w = put_plain(w, a, capital);
  if (zero && f->no_negative_zero) negative = 0;
  if (f->percent) *w++ = '%';
  return laid_out(f, negative, 0, 0, body, (u32)(w - body), 3);
}

OFFER str text_format_int(i64 n, const format* f) {
  u8 body[72], *end = body + 72, prefix[2] = {'0', f->type};
  u32 base = f->type == 'b' ? 2 : f->type == 'o' ? 8 : (f->type | 32) == 'x' ? 16 : 10;
  u8* p = put_digits_before(end, n < 0 ? -(u64)n : (u64)n, base, f->type == 'X');
  return laid_out(f, n < 0, prefix, f->alternate && base != 10 ? 2 : 0, p, (u32)(end - p), base == 10 ? 3 : 4);
}

OFFER str text_format_text(str s, const format* f) {
  if (f->precision >= 0) s = text_slice(s, 0, f->precision);
  i64 more = f->width - text_length(s);
  if (more <= 0) return s;
  u64 before = f->align == '>' ? (u64)more : f->align == '^' ? (u64)more / 2 : 0;
  return padded(s, before, (u64)more - before, text_of(f->fill, f->fill_size, f->fill[0] < 0x80 ? KNOWN_ASCII : 0));
}

OFFER str text_from_float(f64 x) {
  decimal d;
  u8 *out = room(40), *w = out;
  if (!out) return NO_MEMORY;
  if (bits_of(x) >> 63 && x == x) *w++ = '-';
  f64 a = absolute(x);
  if (a < INFINITE) {
    decimal_shortest(&d, a);
    w = put_number(w, &d, 0, d.point <= -4 || d.point > 16, 1, 0, 'e');
  } else {
    w = put_plain(w, a, 0);
  }
  return made(out, w, KNOWN_ASCII);
}
