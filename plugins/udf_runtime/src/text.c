/* Text as a sequence of characters: comparison, length, index, slice, joining. */
#include "text.h"

IN u32 all_ascii(const u8* p, u32 size) {
  const u8* end = p + size;
  for (; p + 64 <= end; p += 64) {
    v128_t one = wasm_v128_or(wasm_v128_load(p), wasm_v128_load(p + 16));
    v128_t other = wasm_v128_or(wasm_v128_load(p + 32), wasm_v128_load(p + 48));
    if (wasm_i8x16_bitmask(wasm_v128_or(one, other))) return 0;
  }
  return scan_ascii(p, (u32)(end - p));
}

/* Whether all texts of a chunk are ASCII, as the flag of its texts: those that stand in their views, and the buffers. */
OFFER u32 text_scan(const v128_t* views, u32 rows, u32 start, u32 size) {
  v128_t short_ones = wasm_i32x4_splat(MOST_SHORT + 1), seen = wasm_i32x4_splat(0);
  for (u32 i = 0; i < rows; i++) {
    v128_t view = wasm_v128_load(views + i), sizes = wasm_i32x4_shuffle(view, view, 0, 0, 0, 0);
    seen = wasm_v128_or(seen, wasm_v128_and(view, wasm_i32x4_lt(sizes, short_ones)));
  }
  return wasm_i8x16_bitmask(seen) ? 0 : all_ascii((const u8*)start, size);
}

/* ---- results ---- */

/* Write a text that does not stand in its view behind those of earlier rows; 0 if there is no room. The column is
 * described in kernel_layout.py. */
OFFER u32 text_store(u32 column, u32 row, str s) {
  u32 *words = (u32*)column, at = words[2], size = size_of(s);
  const u8* p = start_of(s);
  v128_t *view = (v128_t*)words[1] + row, text = wasm_v128_load(p), sized = wasm_i32x4_splat((i32)size);
  if (size > words[3] - at) return 0;
  put((u8*)at, p, size);
  words[2] = at + size;
  text = wasm_i32x4_shuffle(sized, text, 0, 4, 4, 4);
  text = wasm_i32x4_replace_lane(text, 2, (i32)words[5]);
  wasm_v128_store(view, wasm_i32x4_replace_lane(text, 3, (i32)(at - words[4])));
  return 1;
}

/* ---- comparison: the order of UTF-8 is that of the characters ---- */

OFFER u32 text_equal(str a, str b) { return (u32)is_equal(a, b); }

OFFER i32 text_compare(str a, str b) {
  u32 n = size_of(a), m = size_of(b), least = n < m ? n : m;
  const u8 *p = start_of(a), *q = start_of(b);
  for (u32 i = 0; i < least; i += 16) {
    u32 mask = wasm_i8x16_bitmask(wasm_i8x16_eq(wasm_v128_load(p + i), wasm_v128_load(q + i))) ^ 0xffff;
    if (mask) {
      u32 at = i + (u32)__builtin_ctz(mask);
      if (at >= least) break;
      return p[at] < q[at] ? -1 : 1;
    }
  }
  return n < m ? -1 : n > m;
}

/* ---- length, index and slice ---- */

OFFER i64 text_length(str s) {
  return known_ascii(s) ? size_of(s) : count_characters(start_of(s), size_of(s));
}

/* s[index] */
OFFER str text_item(str s, i64 index) {
  u32 size = size_of(s);
  const u8* p = start_of(s);
  if (ascii_of(s)) {
    if (index < 0) index += size;
    return index < 0 || index >= size ? FAILED : text_of(p + index, 1, KNOWN_ASCII);
  }
  i64 at = index < 0 ? size - bytes_of_last(p, size, -(u64)index) : bytes_of(p, size, index);
  if (at < 0 || at >= size) return FAILED;
  p += at;
  return text_of(p, width_of(*p), *p < 0x80 ? KNOWN_ASCII : 0);
}

/* The character at a byte, for loops. */
/* s[from:to]; what is left out is 0 and the largest int. */
OFFER str text_slice(str s, i64 from, i64 to) {
  u32 size = size_of(s), ascii = ascii_of(s);
  const u8* p = start_of(s);
  u32 first = place_of(p, size, ascii, from), last = place_of(p, size, ascii, to);
  return first < last ? text_of(p + first, last - first, ascii) : 0;
}

/* s[from:to:step]; `open` says which of the two are left out: 1 the first, 2 the second. */
OFFER str text_stride(str s, i64 from, i64 to, i64 step, u32 open) {
  u32 size = size_of(s);
  if (!step) return FAILED;
  i64 count = text_length(s), low = step < 0 ? -1 : 0, high = step < 0 ? count - 1 : count;
  if (from < 0) from += count;
  if (to < 0) to += count;
  from = open & 1 ? (step < 0 ? high : low) : from < low ? low : from > high ? high : from;
  to = open & 2 ? (step < 0 ? low : high) : to < low ? low : to > high ? high : to;
  if (step < 0 ? from <= to : from >= to) return 0;
  u8* out = room(size);
  if (!out) return NO_MEMORY;
  u8* w = out;
  const u8* p = start_of(s);
  p += known_ascii(s) ? from : bytes_of(p, size, from);
  u64 stride = step < 0 ? -(u64)step : (u64)step, left = (u64)(step < 0 ? from - to : to - from);
  for (;;) {
    u32 width = width_of(*p);
    for (u32 i = 0; i < width; i++) w[i] = p[i];
    w += width;
    if (left <= stride) break;
    left -= stride;
    if (step < 0) {
      for (u64 i = 0; i < stride; i++) do p--; while (continues(*p));
    } else {
      for (u64 i = 0; i < stride; i++) p += width_of(*p);
    }
  }
  return made(out, w, known_ascii(s));
}

/* ---- joining ---- */

OFFER str text_concat(str a, str b) {
  u32 n = size_of(a), m = size_of(b), both = known_ascii(a) & known_ascii(b);
  if (!n) return b;
  if (!m) return a;
  /* What lies side by side already is whole; what was made last grows where it is, so that a loop of += takes linear
   * time. */
  u8* end = start_of(a) + n;
  if (end == start_of(b)) return text_of(start_of(a), n + m, both);
  if (end == (u8*)CELLS->top) {
    if (!room(m)) return NO_MEMORY;
    keep(put(end, start_of(b), m));
    return text_of(start_of(a), n + m, both);
  }
  u8* out = room((u64)n + m);
  if (!out) return NO_MEMORY;
  return made(out, put(put(out, start_of(a), n), start_of(b), m), both);
}

OFFER str text_repeat(str s, i64 times) {
  u32 n = size_of(s);
  if (times <= 0 || !n) return 0;
  if (times == 1) return s;
  if (times > 0x7fffffff) return NO_MEMORY;
  u64 size = n * (u64)times;
  u8* out = room(size);
  if (!out) return NO_MEMORY;
  if (n == 1) {
    __builtin_memset(out, *start_of(s), (u32)size);
  } else {
    put(out, start_of(s), n);
    for (u64 have = n; have < size;) { /* double what is there */
      u64 more = have < size - have ? have : size - have;
      __builtin_memcpy(out + have, out, (u32)more);
      have += more;
    }
  }
  return made(out, out + size, known_ascii(s));
}

/* ---- padding: `width` and the size are in characters ---- */

APART str padded(str s, u64 before, u64 after, str fill) {
  u32 n = size_of(s), f = size_of(fill);
  u8* out = room(n + (before + after) * f);
  if (!out) return NO_MEMORY;
  u8* w = out;
  for (u64 i = 0; i < before; i++) w = put(w, start_of(fill), f);
  w = put(w, start_of(s), n);
  for (u64 i = 0; i < after; i++) w = put(w, start_of(fill), f);
  return made(out, w, known_ascii(s) & known_ascii(fill));
}

/* ljust, rjust and center: `side` is '<', '>' or '^'. The fill must be one character. */
OFFER str text_pad(str s, i64 width, str fill, u32 side) {
  if (text_length(fill) != 1) return FAILED;
  i64 more = width - text_length(s);
  if (more <= 0) return s;
  if (more > 0x7fffffff) return NO_MEMORY;
  /* CPython's center gives the odd one to the left if the width is odd too. */
  u64 left = side == '<' ? 0 : side == '>' ? (u64)more : (u64)(more / 2 + (more & width & 1));
  return padded(s, left, (u64)more - left, fill);
}

OFFER str text_zfill(str s, i64 width) {
  i64 more = width - text_length(s);
  if (more <= 0) return s;
  if (more > 0x7fffffff) return NO_MEMORY;
  u32 n = size_of(s), sign = n && (*start_of(s) == '+' || *start_of(s) == '-');
  u8* out = room((u64)n + (u64)more);
  if (!out) return NO_MEMORY;
  u8* w = out;
  if (sign) *w++ = *start_of(s);
  for (i64 i = 0; i < more; i++) *w++ = '0';
  return made(out, put(w, start_of(s) + sign, n - sign), known_ascii(s));
}

/* ---- single characters ---- */

OFFER i64 text_ord(str s) {
  const u8* p = start_of(s);
  if (!size_of(s) || width_of(*p) != size_of(s)) return -1;
  return next_character(&p);
}

OFFER str text_chr(i64 code) {
  if (code < 0 || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return FAILED;
  u8* out = room(4);
  if (!out) return NO_MEMORY;
  return made(out, put_character(out, (u32)code), code < 128 ? KNOWN_ASCII : 0);
}
