/* What every part of the runtime shares: types, and how a function is offered to compiled code.
 *
 * There is no libc. A function marked OFFER can be called from a compiled Python function; everything else is
 * pulled in with it when it is needed, function by function.
 */
#ifndef BASE_H
#define BASE_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef signed char i8;
typedef int i32;
typedef long long i64;
typedef double f64;

#define OFFER __attribute__((used, noinline, visibility("default")))
#define APART __attribute__((noinline)) static
#define IN __attribute__((always_inline)) static inline

IN u64 bits_of(f64 x) {
  u64 u;
  __builtin_memcpy(&u, &x, 8);
  return u;
}
IN f64 from_bits(u64 u) {
  f64 x;
  __builtin_memcpy(&x, &u, 8);
  return x;
}
IN f64 absolute(f64 x) { return __builtin_fabs(x); }

#define INFINITE __builtin_inf()
#define NOT_A_NUMBER __builtin_nan("")

#endif
