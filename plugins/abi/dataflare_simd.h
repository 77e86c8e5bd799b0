/* dataflare_simd.h: scan and copy text 16 bytes at a time.
 *
 * A plugin is stopped when its time is over, and that is looked for at each turn of a loop, so a loop over bytes costs
 * three to seven times as much as it should; these do not. They read up to 15 bytes past the end, which every buffer
 * has, and write up to 15 bytes past what they were asked for, which a text column has. */
#ifndef DATAFLARE_SIMD_H
#define DATAFLARE_SIMD_H
#include <wasm_simd128.h>

#include "dataflare.h"

#define DF_SCAN(name, parameters, test)                                             \
  static inline const char* name parameters {                                       \
    for (; at < end; at += 16) {                                                    \
      v128_t x = wasm_v128_load(at);                                                \
      u32 hits = wasm_i8x16_bitmask(test);                                          \
      if (hits) return at += __builtin_ctz(hits), at < end ? at : end;              \
    }                                                                               \
    return end;                                                                     \
  }
#define DF_IS(byte) wasm_i8x16_eq(x, wasm_i8x16_splat(byte))

/* The first of up to four bytes, `end` if there is none. */
DF_SCAN(df_scan1, (const char* at, const char* end, char a), DF_IS(a))
DF_SCAN(df_scan2, (const char* at, const char* end, char a, char b), wasm_v128_or(DF_IS(a), DF_IS(b)))
DF_SCAN(df_scan3, (const char* at, const char* end, char a, char b, char c),
        wasm_v128_or(wasm_v128_or(DF_IS(a), DF_IS(b)), DF_IS(c)))
DF_SCAN(df_scan4, (const char* at, const char* end, char a, char b, char c, char d),
        wasm_v128_or(wasm_v128_or(DF_IS(a), DF_IS(b)), wasm_v128_or(DF_IS(c), DF_IS(d))))
/* The first byte outside ASCII. */
DF_SCAN(df_scan_high, (const char* at, const char* end), x)

/* Copy text, as it is or with A to Z made small. */
static inline void df_copy(char* to, const char* from, u32 length) {
  for (u32 i = 0; i < length; i += 16) wasm_v128_store(to + i, wasm_v128_load(from + i));
}

static inline void df_copy_lower(char* to, const char* from, u32 length) {
  for (u32 i = 0; i < length; i += 16) {
    v128_t x = wasm_v128_load(from + i);
    v128_t large = wasm_v128_and(wasm_u8x16_ge(x, wasm_i8x16_splat('A')), wasm_u8x16_le(x, wasm_i8x16_splat('Z')));
    wasm_v128_store(to + i, wasm_v128_or(x, wasm_v128_and(large, wasm_i8x16_splat(32))));
  }
}

/* df_put for short texts. */
static inline void df_put_short(df_out* out, u32 row, const char* text, u32 length) {
  u32* ends = (u32*)out->offsets;
  df_copy((char*)out->data + ends[row], text, length);
  ends[row + 1] = ends[row] + length;
  df_set_valid(out, row);
}

#endif
