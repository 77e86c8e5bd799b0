/* url_parts: take URLs apart by RFC 3986, section 3, 16 bytes at a time.
 *
 * What is wrong in one part makes that part null and leaves the others. Parameters are decoded as in HTML forms:
 * `+` is a space, %xx a byte; bytes that are no UTF-8 become U+FFFD, one for each maximal part of a sequence
 * (Unicode 15, section 3.9, as WHATWG and Python do). */
#include "dataflare_simd.h"

enum { SCHEME, HOST, PORT, PATH, QUERY, FRAGMENT, PARTS };
static const char* const part_names[PARTS] = {"scheme", "host", "port", "path", "query", "fragment"};

enum { MOST_PARAMS = 16, MOST_NAME = 128, MOST_PREFIX = 64 };
static char names[PARTS + MOST_PARAMS][MOST_PREFIX + MOST_NAME];
static char params[MOST_PARAMS][MOST_NAME];
static u32 param_lengths[MOST_PARAMS], param_count, wanted;
static int beyond_host; /* whether more than scheme, host and port is asked for */

typedef struct { const char* at; const char* end; } span; /* at is NULL: there is none */
typedef struct { span part[PARTS]; i32 port; } url;

static void name_column(u32 column, const char* prefix, const char* name) {
  char* to = names[column];
  while (*prefix) *to++ = *prefix++;
  while (*name) *to++ = *name++;
  *to = 0;
}

DF_INIT(json, length) {
  char prefix[MOST_PREFIX] = "", name[MOST_NAME];
  df_setting(json, length, "prefix", prefix, sizeof prefix);
  for (u32 nth = 0; df_setting_item(json, length, "parts", nth, name, sizeof name) >= 0; nth++) {
    u32 part = 0;
    while (part < PARTS && !df_same(part_names[part], name)) part++;
    if (part == PARTS) return df_fail(DF_E_CONFIG, "parts may be scheme, host, port, path, query and fragment");
    wanted |= 1u << part;
  }
  for (i32 n; (n = df_setting_item(json, length, "params", param_count, name, sizeof name)) >= 0; param_count++) {
    if (param_count == MOST_PARAMS) return df_fail(DF_E_CONFIG, "at most 16 params are possible");
    __builtin_memcpy(params[param_count], name, sizeof name);
    param_lengths[param_count] = (u32)n;
    name_column(PARTS + param_count, prefix, name);
  }
  if (!wanted && !param_count) wanted = 1 << HOST | 1 << PORT | 1 << PATH | 1 << QUERY;
  for (u32 part = 0; part < PARTS; part++) name_column(part, prefix, part_names[part]);
  beyond_host = param_count || wanted & ~(1u << SCHEME | 1u << HOST | 1u << PORT);
  return 0;
}

/* ---- taking apart ---- */

static inline int is_letter(char c) { return (u8)((c | 32) - 'a') < 26; }

static inline v128_t between(v128_t x, char low, char high) {
  return wasm_u8x16_le(wasm_i8x16_sub(x, wasm_i8x16_splat(low)), wasm_i8x16_splat((char)(high - low)));
}

/* Whether all bytes may stand in a scheme. */
static inline int is_scheme(const char* at, const char* end) {
  if (at == end || !is_letter(*at)) return 0;
  for (; at < end; at += 16) {
    v128_t x = wasm_v128_load(at);
    v128_t good = between(wasm_v128_or(x, wasm_i8x16_splat(32)), 'a', 'z');
    good = wasm_v128_or(good, wasm_v128_or(between(x, '0', '9'), wasm_v128_or(between(x, '-', '.'), DF_IS('+'))));
    u32 bad = ~wasm_i8x16_bitmask(good) & 0xffff;
    if (bad && at + __builtin_ctz(bad) < end) return 0;
  }
  return 1;
}

static i32 port_of(const char* at, const char* end) {
  if (at == end) return -1;
  i32 port = 0;
  for (; at < end; at++) {
    u8 digit = (u8)(*at - '0');
    if (digit > 9) return -1;
    port = port * 10 + digit;
    if (port > 65535) return -1;
  }
  return port;
}

typedef struct { span host; i32 port; } authority_parts;

/* An authority with a user or brackets, or a long one. */
static __attribute__((noinline)) void rare_authority(authority_parts* found, const char* at, const char* end) {
  for (const char* user; (user = df_scan1(at, end, '@')) < end;) at = user + 1;
  const char* close = at < end && *at == '[' ? df_scan1(at, end, ']') : end;
  if (close < end) {
    found->host = (span){at + 1, close};
    found->port = close + 1 < end && close[1] == ':' ? port_of(close + 2, end) : -1;
    return;
  }
  const char* colon = df_scan1(at, end, ':');
  found->host = (span){at, colon};
  found->port = colon < end ? port_of(colon + 1, end) : -1;
}

static inline u32 stops_in(v128_t x) {
  return wasm_i8x16_bitmask(wasm_v128_or(wasm_v128_or(DF_IS('/'), DF_IS('?')), DF_IS('#')));
}

static inline u32 marks_in(v128_t x) {
  return wasm_i8x16_bitmask(wasm_v128_or(DF_IS('@'), DF_IS('[')));
}

static inline u32 colons_in(v128_t x) { return wasm_i8x16_bitmask(DF_IS(':')); }

/* Find the end of an authority and what is in it, 32 bytes at a time: most need no second turn. What is read beyond the
 * text is the memory of the columns that are made of it. */
static inline const char* authority(url* u, const char* at, const char* end) {
  const char* start = at;
  u32 rare = 0, stops, colons;
  for (;; at += 32) {
    v128_t low = wasm_v128_load(at), high = wasm_v128_load(at + 16);
    stops = stops_in(low) | stops_in(high) << 16;
    colons = colons_in(low) | colons_in(high) << 16;
    u32 marks = marks_in(low) | marks_in(high) << 16;
    if (end - at < 32) stops |= 1u << (end - at);
    if (__builtin_expect(stops != 0, 1)) {
      rare |= marks & (stops ^ (stops - 1));
      break;
    }
    rare |= marks | colons;
  }
  /* The host ends at the colon or at the end of the authority; which, no branch has to guess. */
  u32 to_host_end = __builtin_ctz(stops | (colons & (stops ^ (stops - 1))));
  const char* host_end = at + to_host_end;
  at += __builtin_ctz(stops);
  u->part[HOST] = (span){start, host_end};
  if (__builtin_expect(rare != 0, 0)) {
    authority_parts found; /* of its own, so that `u` may live in registers */
    rare_authority(&found, start, at);
    u->part[HOST] = found.host;
    u->port = found.port;
  } else if (wanted >> PORT & 1 && host_end < at) {
    u->port = port_of(host_end + 1, at);
  }
  return at;
}

/* The length of a scheme with its colon, 0 if there is none. */
static inline u32 scheme(const char* at, const char* end) {
  u64 first;
  __builtin_memcpy(&first, at, 8);
  if (end - at >= 8 && first == 0x2f2f3a7370747468) return 6; /* https:// */
  if (end - at >= 7 && first << 8 == 0x2f2f3a7074746800) return 5; /* http:// */
  const char* stop = df_scan4(at, end, ':', '/', '?', '#');
  return stop < end && *stop == ':' && is_scheme(at, stop) ? (u32)(stop - at) + 1 : 0;
}

static inline void take_apart(url* u, const char* at, const char* end) {
  u32 length = scheme(at, end);
  u->part[SCHEME] = length ? (span){at, at + length - 1} : (span){0};
  u->part[HOST] = u->part[QUERY] = u->part[FRAGMENT] = (span){0};
  u->port = -1;
  at += length;
  if (at + 1 < end && at[0] == '/' && at[1] == '/') at = authority(u, at + 2, end);
  if (!beyond_host) return;
  const char* stop = df_scan2(at, end, '?', '#');
  u->part[PATH] = (span){at, stop};
  if (stop < end && *stop == '?') {
    at = stop + 1;
    stop = df_scan1(at, end, '#');
    u->part[QUERY] = (span){at, stop};
  }
  if (stop < end) u->part[FRAGMENT] = (span){stop + 1, end};
}

/* ---- parameters ---- */

static inline int hex(char c) {
  if ((u8)(c - '0') < 10) return c - '0';
  return (u8)((c | 32) - 'a') < 6 ? (c | 32) - 'a' + 10 : -1;
}

static u32 decode(char* to, const char* at, const char* end) {
  char* start = to;
  for (; at < end; at++) {
    int high = *at == '%' && at + 2 < end ? hex(at[1]) : -1, low = high >= 0 ? hex(at[2]) : -1;
    if (low >= 0) *to++ = (char)(high << 4 | low), at += 2;
    else *to++ = *at == '+' ? ' ' : *at;
  }
  return (u32)(to - start);
}

/* The length of the UTF-8 sequence at `at`; less 16, if it is broken, the length of what U+FFFD stands for. */
static i32 sequence(const u8* at, const u8* end) {
  u8 first = *at, low = 0x80, high = 0xbf;
  i32 size = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
  if (!size) return 1 - 16;
  if (first == 0xe0) low = 0xa0;
  if (first == 0xed) high = 0x9f;
  if (first == 0xf0) low = 0x90;
  if (first == 0xf4) high = 0x8f;
  for (i32 i = 1; i < size; i++) {
    if (at + i >= end || at[i] < low || at[i] > high) return i - 16;
    low = 0x80, high = 0xbf;
  }
  return size;
}

/* Put text that may be no UTF-8; there must be room for three times as much. */
static void put_repaired(df_out* out, u32 row, const char* text, u32 length) {
  u32* ends = out->offsets;
  char* to = (char*)out->data + ends[row];
  const char* end = text + length;
  while (text < end) {
    const char* high = df_scan_high(text, end);
    df_copy(to, text, (u32)(high - text));
    to += high - text;
    text = high;
    if (text == end) break;
    i32 size = sequence((const u8*)text, (const u8*)end);
    if (size > 0) {
      for (i32 i = 0; i < size; i++) *to++ = *text++;
    } else {
      *to++ = '\xef', *to++ = '\xbf', *to++ = '\xbd';
      text += size + 16;
    }
  }
  ends[row + 1] = (u32)(to - (char*)out->data);
  df_set_valid(out, row);
}

static int equal(const char* one, const char* other, u32 length) {
  for (u32 i = 0; i < length; i++) if (one[i] != other[i]) return 0;
  return 1;
}

/* Put the first value of each parameter; `scratch` has room for the longest text. 0 when there is no memory. */
static int put_params(df_out* outs, u32 row, span query, char* scratch) {
  u32 found = 0, all = (1u << param_count) - 1;
  for (const char* at = query.at; at && at < query.end && found != all;) {
    const char* end = df_scan1(at, query.end, '&');
    const char* equals = df_scan1(at, end, '=');
    const char* name = at;
    u32 length = (u32)(equals - at);
    if (df_scan2(at, equals, '%', '+') < equals) length = decode(scratch, at, equals), name = scratch;
    for (u32 i = 0; i < param_count && at < end; i++) {
      if (found >> i & 1 || length != param_lengths[i] || !equal(name, params[i], length)) continue;
      const char* value = equals < end ? equals + 1 : end;
      u32 size = (u32)(end - value);
      if (!df_room(&outs[i], row, (u64)size * 3)) return 0;
      if (df_scan2(value, end, '%', '+') == end) df_put_short(&outs[i], row, value, size);
      else put_repaired(&outs[i], row, scratch, decode(scratch, value, end));
      found |= 1u << i;
    }
    at = end + 1;
  }
  for (u32 i = 0; i < param_count; i++) if (!(found >> i & 1)) df_put_null(&outs[i], row);
  return 1;
}

/* ---- the columns ---- */

static inline void put_part(df_out* out, u32 row, span part) {
  if (part.at) df_put_short(out, row, part.at, (u32)(part.end - part.at));
  else df_put_null(out, row);
}

static inline void put_lower(df_out* out, u32 row, span part) {
  if (__builtin_expect(!part.at, 0)) {
    df_put_null(out, row);
    return;
  }
  u32* ends = out->offsets;
  char* to = (char*)out->data + ends[row];
  u32 length = (u32)(part.end - part.at);
  if (__builtin_expect(length <= 32, 1)) {
    df_copy_lower(to, part.at, 16);
    df_copy_lower(to + 16, part.at + 16, 16);
  } else {
    df_copy_lower(to, part.at, length);
  }
  /* A zone of an IPv6 address, after the %, keeps its case. */
  if (__builtin_expect(part.at[-1] == '[', 0)) {
    const char* zone = df_scan1(part.at, part.end, '%');
    df_copy(to + (zone - part.at), zone, (u32)(part.end - zone));
  }
  ends[row + 1] = ends[row] + length;
  df_set_valid(out, row);
}

static u32 longest(const struct ArrowArray* column, u32 rows) {
  const i64* ends = column->buffers[1];
  i64 most = 0;
  for (u32 i = 0; i < rows; i++) most = ends[i + 1] - ends[i] > most ? ends[i + 1] - ends[i] : most;
  return (u32)most;
}

DF_PROCESS(batch) {
  const struct ArrowArray* urls = df_column(batch, 0, "U");
  if (!urls) return df_fail(DF_E_TYPE, "url_parts takes one text column; cast it to pl.String");
  u32 rows = (u32)batch->array->length, count = 0;
  u64 bytes = (u64)((const i64*)urls->buffers[1])[rows];
  df_out outs[PARTS + MOST_PARAMS], *of[PARTS];
  for (u32 part = 0; part < PARTS; part++) {
    of[part] = NULL;
    if (!(wanted >> part & 1)) continue;
    of[part] = &outs[count++];
    *of[part] = part == PORT ? df_out_nullable(rows, "S", names[part])
                             : df_out_bytes(rows, bytes + 16, "u", names[part]);
    if (!of[part]->data) return df_fail(DF_E_MEMORY, "no memory for the parts");
  }
  df_out* values = outs + count;
  for (u32 i = 0; i < param_count; i++) {
    values[i] = df_out_bytes(rows, bytes / 4, "u", names[PARTS + i]);
    if (!values[i].data) return df_fail(DF_E_MEMORY, "no memory for the parameters");
  }
  char* scratch = param_count ? df_take((u64)longest(urls, rows) + 16) : NULL;
  for (u32 row = 0; row < rows; row++) {
    url u;
    if (__builtin_expect(!df_valid(urls, row), 0)) {
      u = (url){0};
    } else {
      u32 length;
      const char* text = df_text(urls, row, &length);
      take_apart(&u, text, text + length);
      if (of[PORT] && u.port >= 0) {
        ((unsigned short*)of[PORT]->data)[row] = (unsigned short)u.port;
        df_set_valid(of[PORT], row);
      }
    }
    if (of[HOST]) put_lower(of[HOST], row, u.part[HOST]);
    if (of[SCHEME]) put_lower(of[SCHEME], row, u.part[SCHEME]);
    if (!beyond_host) continue;
    if (of[PATH]) put_part(of[PATH], row, u.part[PATH]);
    if (of[QUERY]) put_part(of[QUERY], row, u.part[QUERY]);
    if (of[FRAGMENT]) put_part(of[FRAGMENT], row, u.part[FRAGMENT]);
    if (param_count && !put_params(values, row, u.part[QUERY], scratch))
      return df_fail(DF_E_MEMORY, "no memory for the parameters");
  }
  return df_return(outs, count + param_count);
}
