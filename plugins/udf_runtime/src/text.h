/* Text: a value of 64 bits that says where its UTF-8 is, how many bytes it has, and whether all are ASCII.
 *
 * Bits 0 to 30 are the address, bit 31 says that it is known to be ASCII, bits 32 to 62 are the size. A negative
 * value is an error. Nothing is freed: what a row makes lies in an arena that the kernel empties for the next row.
 * Around any text there are 32 bytes that may be read, and behind what the arena gave, 32 that may be overwritten.
 */
#ifndef TEXT_H
#define TEXT_H
#include "base.h"
#include <wasm_simd128.h>

typedef u64 str;

enum { KNOWN_ASCII = (int)0x80000000, SLACK = 64, MOST_SHORT = 12 };
#define FAILED ((str)-1)    /* what Python calls an error of this place */
#define NO_MEMORY ((str)-2)
#define IS_ERROR(s) ((i64)(s) < 0)

/* Cells at a fixed address that the kernel and the host know, see kernel_layout.py. */
typedef struct {
  u32 top;    /* the end of the arena */
  u32 status; /* what became of the last call that returns a number: 0, or 1 for Python's error, 2 for 64 bits */
  str quoted; /* the text that was no number */
} cells;
#define CELLS ((cells*)16)

IN u8* start_of(str s) { return (u8*)((u32)s & 0x7fffffffu); }
IN u32 size_of(str s) { return (u32)(s >> 32); }
IN u32 known_ascii(str s) { return (u32)s & KNOWN_ASCII; }
IN str text_of(const u8* start, u32 size, u32 ascii) { return (u64)size << 32 | (u32)start | ascii; }
IN str part_of(str s, u32 from, u32 to) { return text_of(start_of(s) + from, to - from, known_ascii(s)); }

/* ---- memory ---- */

/* Room for a text, or NULL. `keep` says how much of it is used. */
APART u8* grown(u32 end) {
  u32 have = __builtin_wasm_memory_size(0) << 16;
  u32 more = ((end - have) >> 16) + 1;
  u32 ample = more < 64 ? 64 : more;
  if (__builtin_wasm_memory_grow(0, ample) == (unsigned long)-1 &&
      __builtin_wasm_memory_grow(0, more) == (unsigned long)-1)
    return 0;
  return (u8*)CELLS->top;
}
IN u8* room(u64 size) {
  u64 end = (u64)CELLS->top + size + SLACK;
  if (end > 0x7fffffffu) return 0;
  if (end > (u64)__builtin_wasm_memory_size(0) << 16) return grown((u32)end);
  return (u8*)CELLS->top;
}
IN void keep(const u8* end) { CELLS->top = (u32)end; }
IN str made(const u8* start, const u8* end, u32 ascii) {
  keep(end);
  return text_of(start, (u32)(end - start), ascii);
}

/* Copy; up to 15 bytes behind the end may be overwritten. */
IN u8* put(u8* to, const u8* from, u32 size) {
  if (size > 256) {
    __builtin_memcpy(to, from, size);
  } else {
    for (u32 i = 0; i < size; i += 16) wasm_v128_store(to + i, wasm_v128_load(from + i));
  }
  return to + size;
}

/* ---- characters ---- */

IN i32 continues(u8 byte) { return (byte & 0xc0) == 0x80; }
IN u32 width_of(u8 first) { return first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4; }

/* The character at p, and p behind it. */
IN u32 next_character(const u8** at) {
  const u8* p = *at;
  u32 c = *p;
  if (c < 0x80) {
    *at = p + 1;
  } else if (c < 0xe0) {
    c = (c & 31) << 6 | (p[1] & 63);
    *at = p + 2;
  } else if (c < 0xf0) {
    c = (c & 15) << 12 | (p[1] & 63u) << 6 | (p[2] & 63);
    *at = p + 3;
  } else {
    c = (c & 7) << 18 | (p[1] & 63u) << 12 | (p[2] & 63u) << 6 | (p[3] & 63);
    *at = p + 4;
  }
  return c;
}
IN u32 character_before(const u8** at) {
  const u8* p = *at - 1;
  while (continues(*p)) p--;
  *at = p;
  return next_character(&p);
}
IN u8* put_character(u8* to, u32 c) {
  if (c < 0x80) {
    *to++ = (u8)c;
  } else if (c < 0x800) {
    *to++ = (u8)(0xc0 | c >> 6), *to++ = (u8)(0x80 | (c & 63));
  } else if (c < 0x10000) {
    *to++ = (u8)(0xe0 | c >> 12), *to++ = (u8)(0x80 | (c >> 6 & 63)), *to++ = (u8)(0x80 | (c & 63));
  } else {
    *to++ = (u8)(0xf0 | c >> 18), *to++ = (u8)(0x80 | (c >> 12 & 63));
    *to++ = (u8)(0x80 | (c >> 6 & 63)), *to++ = (u8)(0x80 | (c & 63));
  }
  return to;
}

/* Whether all bytes are ASCII. */
APART u32 scan_ascii(const u8* p, u32 size) {
  const u8* end = p + size;
  for (; p + 16 <= end; p += 16)
    if (wasm_i8x16_bitmask(wasm_v128_load(p))) return 0;
  u32 rest = (u32)(end - p);
  u32 high = wasm_i8x16_bitmask(wasm_v128_load(p)) & ((1u << rest) - 1);
  return high ? 0 : (u32)KNOWN_ASCII;
}
IN u32 ascii_of(str s) { return known_ascii(s) ? (u32)KNOWN_ASCII : scan_ascii(start_of(s), size_of(s)); }

/* The number of characters in so many bytes. */
APART u32 count_characters(const u8* p, u32 size) {
  u32 found = 0;
  const u8* end = p + size;
  v128_t last = wasm_i8x16_splat(-65);
  for (; p + 16 <= end; p += 16)
    found += (u32)__builtin_popcount(wasm_i8x16_bitmask(wasm_i8x16_gt(wasm_v128_load(p), last)));
  u32 rest = (u32)(end - p);
  u32 mask = wasm_i8x16_bitmask(wasm_i8x16_gt(wasm_v128_load(p), last)) & ((1u << rest) - 1);
  return found + (u32)__builtin_popcount(mask);
}

/* How many of `size` bytes the first `count` characters take, or -1 if there are fewer. */
APART i64 bytes_of(const u8* p, u32 size, i64 count) {
  const u8 *begin = p, *end = p + size;
  v128_t last = wasm_i8x16_splat(-65);
  if (count > size) return -1;
  while (count > 32 && p + 16 <= end) {
    count -= __builtin_popcount(wasm_i8x16_bitmask(wasm_i8x16_gt(wasm_v128_load(p), last)));
    p += 16;
  }
  while (p < end && continues(*p)) p++;
  for (; count; count--) {
    if (p >= end) return -1;
    p += width_of(*p);
  }
  return p - begin;
}

/* The same for the last characters. */
APART i64 bytes_of_last(const u8* p, u32 size, u64 count) {
  const u8* at = p + size;
  if (count > size) return -1;
  for (; count; count--) {
    if (at == p) return -1;
    do at--; while (continues(*at));
  }
  return p + size - at;
}

/* Where the character of an index starts, as a slice sees it: what is outside is the end that is nearer. */
IN u32 place_of(const u8* p, u32 size, u32 ascii, i64 index) {
  i64 found;
  if (ascii) {
    if (index < 0) index += size;
    return index < 0 ? 0 : index > size ? size : (u32)index;
  }
  if (index < 0) {
    found = bytes_of_last(p, size, -(u64)index);
    return found < 0 ? 0 : size - (u32)found;
  }
  found = bytes_of(p, size, index);
  return found < 0 ? size : (u32)found;
}

/* ---- bytes ---- */

IN i32 same_bytes(const u8* a, const u8* b, u32 size) {
  u32 i = 0;
  for (; i + 16 <= size; i += 16)
    if (wasm_v128_any_true(wasm_v128_xor(wasm_v128_load(a + i), wasm_v128_load(b + i)))) return 0;
  u32 rest = size - i;
  u32 mask = wasm_i8x16_bitmask(wasm_i8x16_eq(wasm_v128_load(a + i), wasm_v128_load(b + i)));
  return !((mask ^ 0xffff) & ((1u << rest) - 1));
}
IN i32 is_equal(str a, str b) {
  return size_of(a) == size_of(b) && same_bytes(start_of(a), start_of(b), size_of(a));
}

#endif
