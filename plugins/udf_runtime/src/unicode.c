/* What characters are, and their case, as CPython has it. */
#include "text.h"
#include "text_tables.h"

APART u32 flags_of(u32 c) {
  if (c < flag_end) return flag_values[flag_blocks[c >> 5] << 5 | (c & 31)];
  return c == 0xe0001 || (c >= 0xe0020 && c < 0xe0080) || (c >= 0xe0100 && c < 0xe01f0) ? IGNORABLE : 0;
}

/* ---- tests ---- */

/* Whether there is a character, and each has one of the flags. */
OFFER u32 text_is(str s, u32 flags) {
  const u8 *p = start_of(s), *end = p + size_of(s);
  if (p == end) return 0;
  while (p < end)
    if (!(flags_of(next_character(&p)) & flags)) return 0;
  return 1;
}

OFFER u32 text_is_space(str s) {
  const u8 *p = start_of(s), *end = p + size_of(s);
  return p < end && skip_space(p, end) == end;
}

OFFER u32 text_is_ascii(str s) { return ascii_of(s) != 0; }

/* isupper and islower: a letter of that case and none of another. */
OFFER u32 text_is_case(str s, u32 wanted) {
  const u8 *p = start_of(s), *end = p + size_of(s);
  u32 found = 0;
  while (p < end) {
    u32 flags = flags_of(next_character(&p)) & (UPPER | LOWER | TITLE);
    if (flags & ~wanted) return 0;
    found |= flags;
  }
  return found != 0;
}

/* istitle: letters with case follow no such letter if they are upper case, and one if lower. */
OFFER u32 text_is_title(str s) {
  const u8 *p = start_of(s), *end = p + size_of(s);
  u32 found = 0, inside = 0;
  while (p < end) {
    u32 flags = flags_of(next_character(&p));
    if (flags & (UPPER | TITLE)) {
      if (inside) return 0;
      inside = found = 1;
    } else if (flags & LOWER) {
      if (!inside) return 0;
      found = 1;
    } else {
      inside = 0;
    }
  }
  return found;
}

/* ---- case ---- */

/* A table of runs: first, last and step, distance. */
IN u32 along_run(const i32* runs, u32 count, u32 c) {
  u32 low = 0, high = count;
  while (low < high) {
    u32 middle = (low + high) / 2;
    if ((u32)runs[3 * middle] <= c) low = middle + 1;
    else high = middle;
  }
  if (!low) return c;
  const i32* run = runs + 3 * (low - 1);
  u32 first = (u32)run[0], last = (u32)run[1] >> 1, every_other = run[1] & 1;
  if (c > last || (every_other && (c - first) & 1)) return c;
  return c + (u32)run[2];
}

/* The characters that one becomes, if it becomes several. */
IN const u16* several_of(const u16* table, u32 count, u32 c) {
  u32 low = 0, high = count;
  while (low < high) {
    u32 middle = (low + high) / 2;
    if (table[4 * middle] < c) low = middle + 1;
    else high = middle;
  }
  return low < count && table[4 * low] == c ? table + 4 * low + 1 : 0;
}

IN u8* put_several(u8* to, const u16* several) {
  for (u32 i = 0; i < 3 && several[i]; i++) to = put_character(to, several[i]);
  return to;
}

#define LENGTH(table, width) (sizeof(table) / sizeof(table[0]) / (width))
#define CHANGE(name, first, distance)                                                            \
  APART u8* put_##name(u8* to, u32 c) {                                                          \
    if (c < 128) {                                                                               \
      *to = (u8)(c - first < 26 ? c + distance : c);                                             \
      return to + 1;                                                                             \
    }                                                                                            \
    const u16* several = several_of(name##_several, LENGTH(name##_several, 4), c);               \
    if (several) return put_several(to, several);                                                \
    return put_character(to, along_run(name##_runs, LENGTH(name##_runs, 3), c));                 \
  }
CHANGE(lower, 'A', 32u)
CHANGE(upper, 'a', -32u)
CHANGE(title, 'a', -32u)
CHANGE(fold, 'A', 32u)

IN u32 is_cased(u32 c) { return flags_of(c) & (UPPER | LOWER | TITLE); }
IN u32 is_ignorable(u32 c) { return flags_of(c) & IGNORABLE; }

/* Whether the sigma from p to next stands at the end of a word. */
APART i32 is_final(const u8* begin, const u8* p, const u8* next, const u8* end) {
  u32 c = 0;
  do {
    if (p == begin) return 0;
    c = character_before(&p);
  } while (is_ignorable(c));
  if (!is_cased(c)) return 0;
  do {
    if (next == end) return 1;
    c = next_character(&next);
  } while (is_ignorable(c));
  return !is_cased(c);
}

enum { SIGMA = 0x3a3 };

IN u8* put_lower_at(u8* to, u32 c, const u8* begin, const u8* p, const u8* next, const u8* end) {
  if (c == SIGMA) return put_character(to, is_final(begin, p, next, end) ? 0x3c2 : 0x3c3);
  return put_lower(to, c);
}

/* Change the case of ASCII letters between first and first + 25, a block at a time. */
IN u8* put_flipped(u8* to, const u8* p, u32 size, i8 first) {
  v128_t begin = wasm_i8x16_splat((i8)(-128 - first)), most = wasm_i8x16_splat(-128 + 26), bit = wasm_i8x16_splat(32);
  for (u32 i = 0; i < size; i += 16) {
    v128_t block = wasm_v128_load(p + i);
    v128_t letters = wasm_i8x16_lt(wasm_i8x16_add(block, begin), most);
    wasm_v128_store(to + i, wasm_v128_xor(block, wasm_v128_and(letters, bit)));
  }
  return to + size;
}

OFFER str text_lower(str s) {
  const u8 *begin = start_of(s), *p = begin, *end = p + size_of(s);
  u32 ascii = ascii_of(s);
  u8 *out = room(ascii ? size_of(s) : 3ull * size_of(s)), *w = out;
  if (!out) return NO_MEMORY;
  if (ascii) return made(out, put_flipped(out, p, size_of(s), 'A'), ascii);
  while (p < end) {
    const u8* next = p;
    u32 c = next_character(&next);
    w = put_lower_at(w, c, begin, p, next, end);
    p = next;
  }
  return made(out, w, 0);
}

OFFER str text_upper(str s) {
  const u8 *p = start_of(s), *end = p + size_of(s);
  u32 ascii = ascii_of(s);
  u8 *out = room(ascii ? size_of(s) : 3ull * size_of(s)), *w = out;
  if (!out) return NO_MEMORY;
  if (ascii) return made(out, put_flipped(out, p, size_of(s), 'a'), ascii);
  while (p < end) w = put_upper(w, next_character(&p));
  return made(out, w, 0);
}

OFFER str text_fold(str s) {
  const u8 *p = start_of(s), *end = p + size_of(s);
  if (ascii_of(s)) return text_lower(s);
  u8 *out = room(3ull * size_of(s)), *w = out;
  if (!out) return NO_MEMORY;
  while (p < end) w = put_fold(w, next_character(&p));
  return made(out, w, 0);
}

/* capitalize: the first character in title case; title: the first of each word. The rest in lower case. */
OFFER str text_title(str s, u32 words) {
  const u8 *begin = start_of(s), *p = begin, *end = p + size_of(s);
  u8 *out = room(3ull * size_of(s)), *w = out;
  if (!out) return NO_MEMORY;
  u32 inside = 0;
  while (p < end) {
    const u8* next = p;
    u32 c = next_character(&next);
    w = inside ? put_lower_at(w, c, begin, p, next, end) : put_title(w, c);
    inside = !words || is_cased(c);
    p = next;
  }
  return made(out, w, known_ascii(s));
}

OFFER str text_swapcase(str s) {
  const u8 *begin = start_of(s), *p = begin, *end = p + size_of(s);
  u8 *out = room(3ull * size_of(s)), *w = out;
  if (!out) return NO_MEMORY;
  while (p < end) {
    const u8* next = p;
    u32 c = next_character(&next), flags = flags_of(c);
    if (flags & UPPER) w = put_lower_at(w, c, begin, p, next, end);
    else if (flags & LOWER) w = put_upper(w, c);
    else w = put_character(w, c);
    p = next;
  }
  return made(out, w, known_ascii(s));
}
