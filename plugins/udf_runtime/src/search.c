/* Finding text in text, and what follows from it: count, replace, split, partition and strip. */
#include "text.h"

/* ---- finding bytes ---- */

/* The two-way algorithm of M. Crochemore and D. Perrin ("Two-way string-matching", 1991): linear time and no memory,
 * for what the filters below are slow on. Read backwards it finds the last place. */
typedef struct { const u8* p; u32 size; i32 back; } view;
IN u8 byte_of(view v, i64 i) { return v.p[v.back ? v.size - 1 - i : i]; }

APART i64 greatest_suffix(view x, i32 opposite, i64* period) {
  i64 suffix = -1, at = 0, same = 1, repeat = 1;
  while (at + same < x.size) {
    u8 a = byte_of(x, at + same), b = byte_of(x, suffix + same);
    if (a == b) {
      if (same == repeat) at += repeat, same = 1;
      else same++;
    } else if (opposite ? a > b : a < b) {
      at += same, same = 1, repeat = at - suffix;
    } else {
      suffix = at++, same = repeat = 1;
    }
  }
  *period = repeat;
  return suffix;
}

APART i64 find_two_way(view h, view x) {
  i64 m = x.size, n = h.size, period, other;
  i64 cut = greatest_suffix(x, 0, &period), cut_other = greatest_suffix(x, 1, &other);
  if (cut_other > cut) cut = cut_other, period = other;
  i32 periodic = cut + 1 + period <= m;
  for (i64 i = 0; periodic && i <= cut; i++) periodic = byte_of(x, i) == byte_of(x, i + period);
  if (!periodic) period = (cut + 1 > m - cut - 1 ? cut + 1 : m - cut - 1) + 1;
  i64 known = -1; /* up to here the needle is known to fit, from the place before */
  for (i64 at = 0; at <= n - m;) {
    i64 i = (cut > known ? cut : known) + 1;
    while (i < m && byte_of(x, i) == byte_of(h, at + i)) i++;
    if (i < m) {
      at += i - cut;
      known = -1;
      continue;
    }
    for (i = cut; i > known && byte_of(x, i) == byte_of(h, at + i);) i--;
    if (i <= known) return h.back ? n - m - at : at;
    at += period;
    known = periodic ? m - period - 1 : -1;
  }
  return -1;
}

/* The first place of a needle of at least one byte, or -1. Blocks are filtered by first and last byte, which is
 * W. Mula's "SIMD-friendly algorithm for substring searching"; too many false hits hand over to the two-way search. */
IN i64 find_first_here(const u8* h, u32 n, const u8* x, u32 m) {
  if (m > n) return -1;
  u32 places = n - m + 1;
  v128_t first = wasm_i8x16_splat((i8)x[0]), last = wasm_i8x16_splat((i8)x[m - 1]);
  u64 wasted = 0;
  for (u32 i = 0; i < places; i += 16) {
    v128_t hit = wasm_i8x16_eq(wasm_v128_load(h + i), first);
    if (m > 1) hit = wasm_v128_and(hit, wasm_i8x16_eq(wasm_v128_load(h + i + m - 1), last));
    for (u32 mask = wasm_i8x16_bitmask(hit); mask; mask &= mask - 1) {
      u32 at = i + (u32)__builtin_ctz(mask);
      if (at >= places) return -1;
      if (m <= 2 || same_bytes(h + at + 1, x + 1, m - 2)) return at;
      if ((wasted += m) > 1024 + 4ull * n) {
        i64 found = find_two_way((view){h + at, n - at, 0}, (view){x, m, 0});
        return found < 0 ? -1 : found + at;
      }
    }
  }
  return -1;
}

APART i64 find_first(const u8* h, u32 n, const u8* x, u32 m) { return find_first_here(h, n, x, m); }

IN i64 find_byte(const u8* h, u32 n, u8 byte) {
  v128_t wanted = wasm_i8x16_splat((i8)byte);
  for (u32 i = 0; i < n; i += 16) {
    u32 mask = wasm_i8x16_bitmask(wasm_i8x16_eq(wasm_v128_load(h + i), wanted));
    if (mask) {
      u32 at = i + (u32)__builtin_ctz(mask);
      return at < n ? (i64)at : -1;
    }
  }
  return -1;
}

APART i64 find_last(const u8* h, u32 n, const u8* x, u32 m) {
  if (m > n) return -1;
  v128_t first = wasm_i8x16_splat((i8)x[0]), last = wasm_i8x16_splat((i8)x[m - 1]);
  u64 wasted = 0;
  for (u32 end = n - m + 1; end;) {
    u32 begin = end > 16 ? end - 16 : 0;
    v128_t hit = wasm_i8x16_eq(wasm_v128_load(h + begin), first);
    if (m > 1) hit = wasm_v128_and(hit, wasm_i8x16_eq(wasm_v128_load(h + begin + m - 1), last));
    u32 mask = wasm_i8x16_bitmask(hit) & ((1u << (end - begin)) - 1);
    while (mask) {
      u32 bit = 31 - (u32)__builtin_clz(mask), at = begin + bit;
      if (m <= 2 || same_bytes(h + at + 1, x + 1, m - 2)) return at;
      if ((wasted += m) > 1024 + 4ull * n) return find_two_way((view){h, at + m, 1}, (view){x, m, 1});
      mask ^= 1u << bit;
    }
    end = begin;
  }
  return -1;
}

/* ---- find, count, startswith: `from` and `to` cut s like a slice ---- */

typedef struct { const u8* p; u32 first, last, exists; } window;

IN window window_of(str s, i64 from, i64 to) {
  const u8* p = start_of(s);
  u32 size = size_of(s);
  if (!from && to == 0x7fffffffffffffffll) return (window){p, 0, size, 1};
  u32 ascii = ascii_of(s);
  /* An empty text is found at the end, but not behind it. */
  if (from > 0 && (ascii ? from > size : bytes_of(p, size, from) < 0)) return (window){p, 0, 0, 0};
  u32 first = place_of(p, size, ascii, from), last = place_of(p, size, ascii, to);
  return (window){p, first, last, first <= last};
}
IN i64 index_of(str s, u32 byte) { return known_ascii(s) ? byte : count_characters(start_of(s), byte); }

OFFER u32 text_contains(str s, str part) {
  return !size_of(part) || find_first(start_of(s), size_of(s), start_of(part), size_of(part)) >= 0;
}

/* find in the whole text: of a byte that is ASCII, and of a text that is not empty. */
OFFER i64 text_find_byte(str s, u32 byte) {
  i64 found = find_byte(start_of(s), size_of(s), (u8)byte);
  return found <= 0 || known_ascii(s) ? found : index_of(s, (u32)found);
}
OFFER i64 text_find_whole(str s, str part) {
  i64 found = find_first_here(start_of(s), size_of(s), start_of(part), size_of(part));
  return found <= 0 || known_ascii(s) ? found : index_of(s, (u32)found);
}

/* The byte at which a text that is not empty stands in another, from the back if `back`, or -1. */
OFFER i64 text_place(str s, str part, u32 back) {
  const u8 *p = start_of(s), *x = start_of(part);
  u32 n = size_of(s), m = size_of(part);
  return back ? find_last(p, n, x, m) : m == 1 ? find_byte(p, n, *x) : find_first(p, n, x, m);
}

OFFER i64 text_find(str s, str part, i64 from, i64 to) {
  window w = window_of(s, from, to);
  if (!w.exists) return -1;
  if (!size_of(part)) return index_of(s, w.first);
  i64 found = find_first(w.p + w.first, w.last - w.first, start_of(part), size_of(part));
  return found < 0 ? -1 : index_of(s, w.first + (u32)found);
}

OFFER i64 text_rfind(str s, str part, i64 from, i64 to) {
  window w = window_of(s, from, to);
  if (!w.exists) return -1;
  if (!size_of(part)) return index_of(s, w.last);
  i64 found = find_last(w.p + w.first, w.last - w.first, start_of(part), size_of(part));
  return found < 0 ? -1 : index_of(s, w.first + (u32)found);
}

OFFER i64 text_count(str s, str part, i64 from, i64 to) {
  window w = window_of(s, from, to);
  if (!w.exists) return 0;
  const u8* p = w.p + w.first;
  u32 n = w.last - w.first, m = size_of(part);
  if (!m) return (known_ascii(s) ? n : count_characters(p, n)) + 1;
  i64 count = 0;
  if (m == 1) {
    v128_t one = wasm_i8x16_splat((i8)*start_of(part));
    u32 i = 0;
    for (; i + 16 <= n; i += 16)
      count += __builtin_popcount(wasm_i8x16_bitmask(wasm_i8x16_eq(wasm_v128_load(p + i), one)));
    u32 mask = wasm_i8x16_bitmask(wasm_i8x16_eq(wasm_v128_load(p + i), one)) & ((1u << (n - i)) - 1);
    return count + __builtin_popcount(mask);
  }
  for (i64 at; (at = find_first(p, n, start_of(part), m)) >= 0; count++) {
    p += at + m;
    n -= (u32)at + m;
  }
  return count;
}

OFFER u32 text_starts(str s, str part, i64 from, i64 to) {
  window w = window_of(s, from, to);
  u32 m = size_of(part);
  return w.exists && m <= w.last - w.first && same_bytes(w.p + w.first, start_of(part), m);
}

OFFER u32 text_ends(str s, str part, i64 from, i64 to) {
  window w = window_of(s, from, to);
  u32 m = size_of(part);
  return w.exists && m <= w.last - w.first && same_bytes(w.p + w.last - m, start_of(part), m);
}

OFFER str text_without_prefix(str s, str part) {
  u32 n = size_of(s), m = size_of(part);
  return m <= n && same_bytes(start_of(s), start_of(part), m) ? part_of(s, m, n) : s;
}

OFFER str text_without_suffix(str s, str part) {
  u32 n = size_of(s), m = size_of(part);
  return m <= n && same_bytes(start_of(s) + n - m, start_of(part), m) ? part_of(s, 0, n - m) : s;
}

/* ---- replace ---- */

OFFER str text_replace(str s, str old, str new, i64 most) {
  const u8 *p = start_of(s), *end = p + size_of(s);
  u32 m = size_of(old), k = size_of(new), both = known_ascii(s) & known_ascii(new);
  if (most < 0) most = 0x7fffffffffffffffll;
  if (!most) return s;
  if (!m) { /* between all characters, and at both ends */
    u64 places = (u64)text_length(s) + 1, times = places < (u64)most ? places : (u64)most;
    u8 *out = room(size_of(s) + times * k), *w = out;
    if (!out) return NO_MEMORY;
    for (u64 i = 0; i < times; i++) {
      w = put(w, start_of(new), k);
      if (p < end) {
        u32 width = width_of(*p);
        w = put(w, p, width);
        p += width;
      }
    }
    return made(out, put(w, p, (u32)(end - p)), both);
  }
  i64 at = find_first(p, (u32)(end - p), start_of(old), m);
  if (at < 0) return s;
  u64 size = size_of(s);
  if (k > m) { /* count first, since the result may be longer than any guess */
    u64 times = (u64)text_count(s, old, 0, 0x7fffffffffffffffll);
    size += (times < (u64)most ? times : (u64)most) * (k - m);
  }
  u8 *out = room(size), *w = out;
  if (!out) return NO_MEMORY;
  do {
    w = put(put(w, p, (u32)at), start_of(new), k);
    p += at + m;
  } while (--most && (at = find_first(p, (u32)(end - p), start_of(old), m)) >= 0);
  return made(out, put(w, p, (u32)(end - p)), both);
}

/* ---- white space ---- */

IN i32 is_space(u32 c) {
  if (c < 128) return c == ' ' || (c >= 9 && c <= 13) || (c >= 28 && c <= 31);
  return c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 ||
         c == 0x202f || c == 0x205f || c == 0x3000;
}

IN const u8* skip_space(const u8* p, const u8* end) {
  while (p < end) {
    const u8* q = p;
    if (!is_space(next_character(&q))) break;
    p = q;
  }
  return p;
}
IN const u8* skip_word(const u8* p, const u8* end) {
  while (p < end) {
    const u8* q = p;
    if (is_space(next_character(&q))) break;
    p = q;
  }
  return p;
}
IN const u8* skip_space_back(const u8* p, const u8* begin) {
  while (p > begin) {
    const u8* q = p;
    if (!is_space(character_before(&q))) break;
    p = q;
  }
  return p;
}
IN const u8* skip_word_back(const u8* p, const u8* begin) {
  while (p > begin) {
    const u8* q = p;
    if (is_space(character_before(&q))) break;
    p = q;
  }
  return p;
}

/* `sides`: 1 left, 2 right, 3 both. */
OFFER str text_strip(str s, u32 sides) {
  const u8 *p = start_of(s), *end = p + size_of(s);
  if (sides & 1) p = skip_space(p, end);
  if (sides & 2) end = skip_space_back(end, p);
  return text_of(p, (u32)(end - p), known_ascii(s));
}

typedef struct { u64 low, high; str all; } set;
IN set set_of(str chars) {
  set found = {0, 0, chars};
  const u8 *p = start_of(chars), *end = p + size_of(chars);
  for (; p < end; p++)
    if (*p < 64) found.low |= 1ull << *p;
    else if (*p < 128) found.high |= 1ull << (*p - 64);
  return found;
}
APART i32 is_among(u32 c, str all) {
  const u8 *p = start_of(all), *end = p + size_of(all);
  while (p < end)
    if (next_character(&p) == c) return 1;
  return 0;
}
IN i32 is_in(set* chars, u32 c) {
  if (c < 64) return chars->low >> c & 1;
  if (c < 128) return chars->high >> (c - 64) & 1;
  return !known_ascii(chars->all) && is_among(c, chars->all);
}

OFFER str text_strip_of(str s, str chars, u32 sides) {
  set found = set_of(chars);
  const u8 *p = start_of(s), *end = p + size_of(s);
  while (sides & 1 && p < end) {
    const u8* q = p;
    if (!is_in(&found, next_character(&q))) break;
    p = q;
  }
  while (sides & 2 && p < end) {
    const u8* q = end;
    if (!is_in(&found, character_before(&q))) break;
    end = q;
  }
  return text_of(p, (u32)(end - p), known_ascii(s));
}

/* ---- split ---- */

/* The pieces of a text, one after the other from the front or from the back. `sep` is 0 for white space. */
typedef struct { const u8 *p, *end, *sep; u32 size, ascii; i64 left; i32 back, more; } pieces;

IN pieces pieces_of(str s, str sep, u32 spaced, i64 most, i32 back) {
  pieces found = {start_of(s), start_of(s) + size_of(s), spaced ? 0 : start_of(sep), size_of(sep), known_ascii(s), most, back, 1};
  if (most < 0) found.left = 0x7fffffffffffffffll;
  return found;
}

/* The next piece, or FAILED if there is none. */
APART str next_piece(pieces* a) {
  if (!a->more) return FAILED;
  const u8 *p = a->p, *end = a->end;
  if (!a->sep) {
    if (a->back) end = a->end = skip_space_back(end, p);
    else p = a->p = skip_space(p, end);
    if (p == end) return FAILED;
    if (!a->left) {
      a->more = 0;
    } else if (a->back) {
      p = skip_word_back(end, p);
      a->end = p;
    } else {
      end = skip_word(p, end);
      a->p = end;
    }
    a->left--;
    return text_of(p, (u32)(end - p), a->ascii);
  }
  i64 at = -1;
  if (a->left)
    at = a->back ? find_last(p, (u32)(end - p), a->sep, a->size) : find_first(p, (u32)(end - p), a->sep, a->size);
  a->left--;
  if (at < 0) {
    a->more = 0;
  } else if (a->back) {
    a->end = p + at;
    p += at + a->size;
  } else {
    end = p + at;
    a->p = end + a->size;
  }
  return text_of(p, (u32)(end - p), a->ascii);
}

APART i64 count_pieces(pieces a) {
  i64 count = 0;
  while (!IS_ERROR(next_piece(&a))) count++;
  return count;
}

IN str nth_piece(pieces a, i64 index) {
  if (index < 0 || a.back) {
    i64 count = count_pieces(a);
    if (index < 0) index += count;
    if (index < 0) return FAILED;
    if (a.back) index = count - 1 - index;
    if (index < 0) return FAILED;
  }
  str piece;
  do piece = next_piece(&a); while (!IS_ERROR(piece) && index--);
  return piece;
}

/* All pieces: a text whose address is that of an array of texts, and whose size is their number. */
IN str all_pieces(pieces a) {
  i64 count = count_pieces(a);
  CELLS->top = (CELLS->top + 7) & ~7u;
  str* list = (str*)room((u64)count * 8);
  if (!list) return NO_MEMORY;
  for (i64 i = 0; i < count; i++) list[a.back ? count - 1 - i : i] = next_piece(&a);
  keep((u8*)(list + count));
  return text_of((u8*)list, (u32)count, 0);
}

/* s.split(sep, most)[index]; FAILED is an IndexError. The separator is not empty. */
OFFER str text_split_item(str s, str sep, i64 most, i64 index, u32 back) {
  if (!back && index >= 0) { /* from the front no piece is looked at twice */
    const u8 *p = start_of(s), *end = p + size_of(s), *x = start_of(sep);
    u32 m = size_of(sep);
    u64 left = (u64)most;
    for (;; index--, left--) {
      u32 n = (u32)(end - p);
      i64 at = !left ? -1 : m == 1 ? find_byte(p, n, *x) : find_first(p, n, x, m);
      if (!index) return text_of(p, at < 0 ? n : (u32)at, known_ascii(s));
      if (at < 0) return FAILED;
      p += at + m;
    }
  }
  return nth_piece(pieces_of(s, sep, 0, most, (i32)back), index);
}
OFFER str text_words_item(str s, i64 most, i64 index, u32 back) {
  return nth_piece(pieces_of(s, 0, 1, most, (i32)back), index);
}
OFFER str text_split(str s, str sep, i64 most, u32 back) { return all_pieces(pieces_of(s, sep, 0, most, (i32)back)); }
OFFER str text_words(str s, i64 most, u32 back) { return all_pieces(pieces_of(s, 0, 1, most, (i32)back)); }
OFFER i64 text_split_length(str s, str sep, i64 most, u32 back) {
  return count_pieces(pieces_of(s, sep, 0, most, (i32)back));
}
OFFER i64 text_words_length(str s, i64 most, u32 back) { return count_pieces(pieces_of(s, 0, 1, most, (i32)back)); }

/* ---- lists of texts ---- */

OFFER str texts_item(str list, i64 index) {
  i64 count = size_of(list);
  if (index < 0) index += count;
  return index < 0 || index >= count ? FAILED : ((str*)start_of(list))[index];
}

OFFER u32 texts_contain(str list, str s) {
  const str* at = (const str*)start_of(list);
  for (u32 i = 0; i < size_of(list); i++)
    if (is_equal(at[i], s)) return 1;
  return 0;
}

OFFER str texts_join(str sep, str list) {
  const str* at = (const str*)start_of(list);
  u32 count = size_of(list), ascii = known_ascii(sep);
  u64 size = count ? (u64)(count - 1) * size_of(sep) : 0;
  for (u32 i = 0; i < count; i++) size += size_of(at[i]);
  u8 *out = room(size), *w = out;
  if (!out) return NO_MEMORY;
  for (u32 i = 0; i < count; i++) {
    if (i) w = put(w, start_of(sep), size_of(sep));
    w = put(w, start_of(at[i]), size_of(at[i]));
    ascii &= known_ascii(at[i]);
  }
  return made(out, w, ascii);
}
