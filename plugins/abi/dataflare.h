/* dataflare.h: write a dfx/1 plugin in C or C++. No libc needed.
 *
 * A plugin defines DF_INIT (or DF_NO_INIT) and the work of its type: DF_PROCESS, DF_TRANSFORM, DF_FILTER, DF_READ,
 * DF_WRITE, or DF_AGGREGATE with DF_MERGE and DF_FINAL:
 *
 *     #include "dataflare.h"
 *     DF_NO_INIT
 *     DF_PROCESS(batch) {
 *       const struct ArrowArray* price = df_find(batch, "price", "g");
 *       if (!price) return df_fail(DF_E_INPUT, "this plugin needs a column price (Float64)");
 *       df_out out = df_out_like(batch, price, "g", "with_tax");
 *       if (!out.data) return df_fail(DF_E_MEMORY, "no memory for the result");
 *       const double* in = price->buffers[1];
 *       for (u32 i = 0; i < out.rows; i++) ((double*)out.data)[i] = in[i] * 1.2;
 *       return df_return(&out, 1);
 *     }
 *
 * Columns come from offset 0 in one piece; buffers are 64-byte aligned with 16 readable bytes after them.
 * Text is "U" and binary "Z": 64-bit offsets. What is allocated during a call is gone at the next df_reset; what is to
 * last is static, or allocated by df_take in DF_INIT.
 *
 * A plugin that also takes Arrow IPC streams or JSON sets DF_FORMATS before the include and writes its work with
 * DF_RAW: `df_format_in` says what the bytes are.
 */
#ifndef DATAFLARE_H
#define DATAFLARE_H

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int i32;
typedef long long i64;
#ifndef NULL
#ifdef __cplusplus
#define NULL nullptr
#define _Static_assert static_assert
#else
#define NULL ((void*)0)
#endif
#endif

#define DF_EXPORT(name) __attribute__((export_name(name), visibility("default")))
#define DF_IMPORT(name) __attribute__((import_module("dataflare"), import_name(name)))

/* The Arrow C Data Interface with 32-bit pointers. */
struct ArrowSchema {
  const char* format;
  const char* name;
  const char* metadata;
  i64 flags;
  i64 n_children;
  struct ArrowSchema** children;
  struct ArrowSchema* dictionary;
  void (*release)(struct ArrowSchema*);
  void* private_data;
};
struct ArrowArray {
  i64 length;
  i64 null_count;
  i64 offset;
  i64 n_buffers;
  i64 n_children;
  const void** buffers;
  struct ArrowArray** children;
  struct ArrowArray* dictionary;
  void (*release)(struct ArrowArray*);
  void* private_data;
};
typedef struct { struct ArrowSchema* schema; struct ArrowArray* array; } df_batch;
typedef struct { u32 ptr, len, format, flags; } df_slice;
_Static_assert(sizeof(struct ArrowSchema) == 48, "wasm32 layout");
_Static_assert(sizeof(struct ArrowArray) == 64, "wasm32 layout");

enum { DF_FORMAT_BYTES = 0, DF_FORMAT_JSON = 1, DF_FORMAT_ARROW_IPC = 2, DF_FORMAT_ARROW_C = 3 };
#define DF_TAKES_JSON 1
#define DF_TAKES_ARROW_IPC 2
#define DF_TAKES_ARROW_C 4
enum { DF_NULLABLE = 2 };
#ifndef DF_FORMATS
#define DF_FORMATS DF_TAKES_ARROW_C
#endif
enum { DF_DEBUG, DF_INFO, DF_WARNING, DF_ERROR };
enum {
  DF_E_CONFIG = -1,
  DF_E_INPUT = -2,
  DF_E_TYPE = -3,
  DF_E_MEMORY = -4,
  DF_E_INTERNAL = -5,
  DF_E_UNSUPPORTED = -6,
  DF_E_OWN = -1000 /* and below: the plugin's own */
};

/* What the host offers. A call costs about 10 us: never one per row. */
DF_IMPORT("host_log") void host_log(i32 level, const char* text, u32 length);
DF_IMPORT("host_get_time") i64 host_get_time(void); /* microseconds since the epoch, UTC */
DF_IMPORT("host_random") double host_random(void);  /* in [0, 1) */
DF_IMPORT("host_counter") void host_counter(const char* name, u32 length, i64 by);

/* ---- memory: an arena that the host empties between batches ---- */

extern u8 __heap_base;
static u32 df_top, df_floor; /* df_floor: what plugin_init allocated stays */

static inline u32 df_up(u32 n) { return (n + 63) & ~63u; }

static void* df_take(u64 bytes) {
  if (!df_top) df_top = df_floor = df_up((u32)&__heap_base);
  u64 end = ((u64)df_top + bytes + 63) & ~63ull;
  u64 have = (u64)__builtin_wasm_memory_size(0) << 16;
  if (end >= 1ull << 31) return NULL;
  if (end > have && __builtin_wasm_memory_grow(0, (u32)((end - have + 65535) >> 16)) == (unsigned long)-1) return NULL;
  void* at = (void*)df_top;
  df_top = (u32)end;
  return at;
}

DF_EXPORT("df_abi_version") i32 df_abi_version(void) { return 1; }
DF_EXPORT("df_formats") i32 df_formats(void) { return DF_FORMATS; }
DF_EXPORT("df_alloc") void* df_alloc(u32 bytes) { return df_take(bytes); }
DF_EXPORT("df_reset") void df_reset(void) { df_top = df_floor; }

/* The format of what the next call is handed; told to plugins that take several. */
static i32 df_format_in = DF_FORMATS & DF_TAKES_ARROW_C ? DF_FORMAT_ARROW_C
                        : DF_FORMATS & DF_TAKES_ARROW_IPC ? DF_FORMAT_ARROW_IPC : DF_FORMAT_JSON;
#if DF_FORMATS != 1 && DF_FORMATS != 2 && DF_FORMATS != 4
DF_EXPORT("df_format") void df_format(i32 format) { df_format_in = format; }
#endif

/* ---- errors ---- */

static df_slice df_error;

static i32 df_fail(i32 code, const char* text) {
  df_error.ptr = (u32)text;
  for (df_error.len = 0; text[df_error.len];) df_error.len++;
  return code;
}

DF_EXPORT("df_last_error") df_slice* df_last_error(void) { return &df_error; }

/* ---- reading ---- */

static inline int df_same(const char* a, const char* b) {
  while (*a && *a == *b) a++, b++;
  return *a == *b;
}

/* The column of that name and Arrow format, or NULL. An empty name is the first column. */
static const struct ArrowArray* df_find(const df_batch* batch, const char* name, const char* format) {
  for (i32 i = 0; i < (i32)batch->schema->n_children; i++) {
    const struct ArrowSchema* s = batch->schema->children[i];
    if ((!*name || df_same(s->name, name)) && df_same(s->format, format)) return batch->array->children[i];
    if (!*name) break;
  }
  return NULL;
}

/* The column at a place, counted from 0, if it is there and has the format, or NULL. */
static const struct ArrowArray* df_column(const df_batch* batch, i32 place, const char* format) {
  if (place >= (i32)batch->schema->n_children || !df_same(batch->schema->children[place]->format, format)) return NULL;
  return batch->array->children[place];
}

static inline int df_valid(const struct ArrowArray* column, u32 row) {
  const u8* bits = (const u8*)column->buffers[0];
  return !bits || (bits[row >> 3] >> (row & 7) & 1);
}

/* The text of a row of a "U" column, or the bytes of a "Z" column. */
static inline const char* df_text(const struct ArrowArray* column, u32 row, u32* length) {
  const i64* at = (const i64*)column->buffers[1];
  *length = (u32)(at[row + 1] - at[row]);
  return (const char*)column->buffers[2] + (u32)at[row];
}

/* ---- answering ---- */

typedef struct {
  const char* name;
  const char* format;
  u32 rows;
  i64 nulls;   /* -1: the host counts */
  u8* valid;   /* NULL: no nulls */
  void* data;  /* values; for text the bytes */
  void* offsets; /* text only */
  u64 room;      /* text only: bytes that fit into data */
} df_out;

static u32 df_width(const char* format) {
  switch (*format) {
    case 'c': case 'C': return 1;
    case 's': case 'S': return 2;
    case 'i': case 'I': case 'f': return 4;
    case 't': return format[1] == 'd' && format[2] == 'D' ? 4 : 8;
    default: return 8;
  }
}

/* A fixed-width or boolean column without nulls. */
static df_out df_out_rows(u32 rows, const char* format, const char* name) {
  df_out out = {name, format, rows, 0, NULL, NULL, NULL, 0};
  out.data = df_take(*format == 'b' ? ((u64)rows + 7) / 8 : (u64)rows * df_width(format));
  return out;
}

/* The same as long as the batch, with the nulls of `like` (which may be NULL). */
static df_out df_out_like(const df_batch* batch, const struct ArrowArray* like, const char* format, const char* name) {
  df_out out = df_out_rows((u32)batch->array->length, format, name);
  if (like && like->null_count) out.valid = (u8*)like->buffers[0], out.nulls = like->null_count;
  return out;
}

/* The same with a bitmap of nulls of its own, which starts as all null; `df_set_valid` says which rows are not. */
static df_out df_out_nullable(u32 rows, const char* format, const char* name) {
  df_out out = df_out_rows(rows, format, name);
  u8* valid = (u8*)df_take(((u64)rows + 7) / 8);
  if (!valid) return out.data = NULL, out;
  if (out.data) __builtin_memset(valid, 0, (rows + 7) / 8);
  out.valid = valid;
  out.nulls = -1;
  return out;
}

static inline void df_set_valid(df_out* out, u32 row) { out->valid[row >> 3] |= (u8)(1 << (row & 7)); }

/* A text ("u") or binary ("z") column with room for `bytes` and a bitmap of nulls, which starts as all null. */
static df_out df_out_bytes(u32 rows, u64 bytes, const char* format, const char* name) {
  df_out out = {name, format, rows, -1, NULL, NULL, NULL, bytes};
  u8* valid = (u8*)df_take(((u64)rows + 7) / 8);
  out.offsets = df_take(((u64)rows + 1) * 4);
  out.data = df_take(bytes + 16);
  if (!valid || !out.offsets || !out.data) return out.data = NULL, out;
  __builtin_memset(valid, 0, (rows + 7) / 8);
  out.valid = valid;
  *(u32*)out.offsets = 0;
  return out;
}

static df_out df_out_text(const df_batch* batch, u64 bytes, const char* name) {
  return df_out_bytes((u32)batch->array->length, bytes, "u", name);
}

/* Say what a row holds. Rows come in order; `df_room` first, if what was asked for at the start may not be enough. */
static inline void df_put(df_out* out, u32 row, const void* text, u32 length) {
  u32* ends = (u32*)out->offsets;
  __builtin_memcpy((u8*)out->data + ends[row], text, length);
  ends[row + 1] = ends[row] + length;
  df_set_valid(out, row);
}

static inline void df_put_null(df_out* out, u32 row) {
  u32* ends = (u32*)out->offsets;
  ends[row + 1] = ends[row];
}

/* Make room for `bytes` more from `row` on; 0 when there is no memory. */
static int df_room(df_out* out, u32 row, u64 bytes) {
  u64 used = ((u32*)out->offsets)[row], wanted = used + bytes;
  if (wanted <= out->room) return 1;
  if (wanted < 2 * out->room) wanted = 2 * out->room;
  void* larger = df_take(wanted + 16);
  if (!larger) return 0;
  __builtin_memcpy(larger, out->data, (u32)used);
  out->data = larger;
  out->room = wanted;
  return 1;
}

/* Return bytes to the host. */
static i32 df_return_bytes(const void* bytes, u32 length, u32 format) {
  static df_slice answer;
  answer = (df_slice){(u32)bytes, length, format, 0};
  return (i32)&answer;
}

/* Return columns to the host. */
static i32 df_return(const df_out* outs, u32 count) {
  static df_slice answer;
  static df_batch batch;
  struct ArrowSchema* s = (struct ArrowSchema*)df_take(sizeof *s * (count + 1));
  struct ArrowArray* a = (struct ArrowArray*)df_take(sizeof *a * (count + 1));
  struct ArrowSchema** ss = (struct ArrowSchema**)df_take(sizeof *ss * count);
  struct ArrowArray** as = (struct ArrowArray**)df_take(sizeof *as * count);
  const void** buffers = (const void**)df_take(sizeof *buffers * (3 * count + 1));
  if (!s || !a || !ss || !as || !buffers) return df_fail(DF_E_MEMORY, "no memory for the answer");
  s[0] = (struct ArrowSchema){"+s", "", NULL, 0, count, ss, NULL, NULL, NULL};
  a[0] = (struct ArrowArray){count ? outs[0].rows : 0, 0, 0, 1, count, buffers, as, NULL, NULL, NULL};
  buffers[0] = NULL;
  for (u32 i = 0; i < count; i++) {
    const df_out* o = &outs[i];
    const void** b = buffers + 1 + 3 * i;
    b[0] = o->valid;
    b[1] = o->offsets ? o->offsets : o->data;
    b[2] = o->offsets ? o->data : NULL;
    s[i + 1] = (struct ArrowSchema){o->format, o->name, NULL, DF_NULLABLE, 0, NULL, NULL, NULL, NULL};
    a[i + 1] = (struct ArrowArray){o->rows, o->valid ? o->nulls : 0, 0, o->offsets ? 3 : 2, 0, b, NULL, NULL, NULL, NULL};
    ss[i] = &s[i + 1];
    as[i] = &a[i + 1];
  }
  batch = (df_batch){s, a};
  answer = (df_slice){(u32)&batch, sizeof batch, DF_FORMAT_ARROW_C, 0};
  return (i32)&answer;
}

/* ---- configuration: the JSON of plugin.json's `config` ---- */

static inline u32 df_skip(const char* json, u32 i, u32 length) {
  while (i < length && (json[i] == ' ' || json[i] == '\n' || json[i] == '\r' || json[i] == '\t')) i++;
  return i;
}

/* The place after the JSON value at `i`. */
static u32 df_after(const char* json, u32 i, u32 length) {
  u32 depth = 0;
  while (i < length) {
    char c = json[i];
    if (c == '"') {
      for (i++; i < length && json[i] != '"'; i++) i += json[i] == '\\';
      i++;
    } else if (c == '{' || c == '[') {
      depth++, i++;
    } else if (c == '}' || c == ']') {
      if (!depth) return i;
      depth--, i++;
    } else if (!depth && (c == ',' || c == ' ' || c == '\n' || c == '\r' || c == '\t')) {
      return i;
    } else {
      i++;
      continue;
    }
    if (!depth) return i;
  }
  return length;
}

/* The JSON text of a setting; NULL if there is none. */
static const char* df_raw(const char* json, u32 length, const char* key, u32* size) {
  u32 i = df_skip(json, 0, length);
  for (i++; i < length;) {
    i = df_skip(json, i, length);
    if (i >= length || json[i] != '"') return NULL;
    u32 end = df_after(json, i, length), n = 0;
    while (key[n] && i + 1 + n + 1 < end && json[i + 1 + n] == key[n]) n++;
    int found = !key[n] && i + 1 + n + 1 == end;
    i = df_skip(json, end, length);
    i = df_skip(json, i + 1, length);
    end = df_after(json, i, length);
    if (found) return *size = end - i, json + i;
    i = df_skip(json, end, length) + 1;
  }
  return NULL;
}

/* Copy a JSON string to `to`, zero-terminated, at most `room` bytes; its length, -1 if it is none or too long.
 * Escapes other than \" and \\ are not understood. */
static i32 df_unquote(const char* text, u32 size, char* to, u32 room) {
  u32 n = 0;
  if (size < 2 || *text != '"') return -1;
  for (u32 i = 1; i + 1 < size; i++) {
    if (text[i] == '\\' && text[++i] != '"' && text[i] != '\\') return -1;
    if (n + 1 >= room) return -1;
    to[n++] = text[i];
  }
  to[n] = 0;
  return (i32)n;
}

/* Copy the text of a setting; 0 if there is none. */
static int df_setting(const char* json, u32 length, const char* key, char* to, u32 room) {
  u32 size;
  const char* text = df_raw(json, length, key, &size);
  return text && df_unquote(text, size, to, room) >= 0;
}

/* The number of a setting, `otherwise` if there is none. */
static double df_setting_number(const char* json, u32 length, const char* key, double otherwise) {
  u32 size, i = 0;
  const char* text = df_raw(json, length, key, &size);
  if (!text || *text == '"') return otherwise;
  double value = 0, scale = 1;
  int minus = *text == '-', tens = 0, down = 0;
  for (i = (u32)minus; i < size && text[i] >= '0' && text[i] <= '9'; i++) value = value * 10 + (text[i] - '0');
  if (i == (u32)minus) return otherwise;
  if (i < size && text[i] == '.')
    for (i++; i < size && text[i] >= '0' && text[i] <= '9'; i++) value = value * 10 + (text[i] - '0'), scale *= 10;
  if (i < size && (text[i] | 32) == 'e') {
    if (++i < size && (text[i] == '-' || text[i] == '+')) down = text[i++] == '-';
    for (; i < size && tens < 400; i++) tens = tens * 10 + (text[i] - '0');
  }
  value /= scale;
  while (tens--) value = down ? value / 10 : value * 10;
  return minus ? -value : value;
}

/* Whether a setting is true, `otherwise` if there is none. */
static int df_setting_flag(const char* json, u32 length, const char* key, int otherwise) {
  u32 size;
  const char* text = df_raw(json, length, key, &size);
  return text && (*text == 't' || *text == 'f') ? *text == 't' : otherwise;
}

/* Copy the n-th text of a list of texts; its length, -1 when there is none. */
static i32 df_setting_item(const char* json, u32 length, const char* key, u32 nth, char* to, u32 room) {
  u32 size;
  const char* list = df_raw(json, length, key, &size);
  if (!list || *list != '[') return -1;
  for (u32 i = df_skip(list, 1, size); i < size && list[i] != ']';) {
    u32 end = df_after(list, i, size);
    if (!nth--) return df_unquote(list + i, end - i, to, room);
    i = df_skip(list, end, size);
    i = df_skip(list, i + (i < size && list[i] == ','), size);
  }
  return -1;
}

/* ---- the exports ---- */

#define DF_INIT(json, length)                                             \
  static i32 df_configure(const char* json, u32 length);                  \
  DF_EXPORT("plugin_init") i32 plugin_init(const char* at, u32 n) {       \
    i32 code = df_configure(at, n);                                       \
    df_take(0);                                                           \
    df_floor = df_top;                                                    \
    return code;                                                          \
  }                                                                       \
  DF_EXPORT("plugin_cleanup") i32 plugin_cleanup(void) { return 0; }      \
  static i32 df_configure(const char* json, u32 length)
#define DF_NO_INIT                                                        \
  DF_INIT(json, length) { (void)json, (void)length; return 0; }
#define DF_WORK(name, batch)                                              \
  static i32 df_work_##name(const df_batch* batch);                       \
  DF_EXPORT(#name) i32 name(const df_batch* at, u32 n) { (void)n; return df_work_##name(at); } \
  static i32 df_work_##name(const df_batch* batch)
#define DF_PROCESS(batch) DF_WORK(process_data, batch)
#define DF_TRANSFORM(batch) DF_WORK(transform_data, batch)
#define DF_FILTER(batch) DF_WORK(filter_data, batch)

/* The work of a plugin that takes other formats: DF_RAW(process_data, bytes, length) { ... df_format_in ... } */
#define DF_RAW(name, bytes, length)                                       \
  DF_EXPORT(#name) i32 name(const u8* bytes, u32 length)

/* A Source: return the next batch; DF_END after the last; no rows if there is nothing yet. */
enum { DF_END = 0 };
#define DF_READ() DF_EXPORT("read_data") i32 read_data(void)
/* Where it is, a static variable: what the host keeps to go on from there. Without, rows are read again and skipped. */
#define DF_POSITION(variable)                                             \
  DF_EXPORT("df_offset") i32 df_offset(void) { return df_return_bytes(&variable, sizeof variable, 0); } \
  DF_EXPORT("df_seek") i32 df_seek(const u8* at, u32 n) {                 \
    if (n != sizeof variable) return df_fail(DF_E_INPUT, "the position is of another version of this plugin"); \
    __builtin_memcpy(&variable, at, n);                                   \
    return 0;                                                             \
  }

/* A Destination: take a batch and return 0. Optional, both: DF_PREPARE makes safe what was written since the last
 * epoch and returns 0 or, by df_return_bytes, what DF_COMMIT is given to make it visible; that may come twice. */
#define DF_WRITE(batch) DF_WORK(write_data, batch)
#define DF_PREPARE(epoch) DF_EXPORT("df_prepare") i32 df_prepare(i64 epoch)
#define DF_COMMIT(epoch, token, length) DF_EXPORT("df_commit") i32 df_commit(i64 epoch, const u8* token, u32 length)
#define DF_ABORT() DF_EXPORT("df_abort") i32 df_abort(void)

/* An Aggregator. The rows of `batch` belong to groups 0 to `groups` - 1, in order; `df_group_of(batch)` says which.
 * DF_AGGREGATE makes of rows one row of state for each group, DF_MERGE of several rows of state one, DF_FINAL of
 * each row of state a value. Without DF_MERGE the host keeps all rows until a window closes. */
static u32 df_group_count;
#define DF_AGGREGATE(batch, groups)                                       \
  DF_EXPORT("df_groups") void df_groups(i32 n) { df_group_count = (u32)n; } \
  DF_GROUPED(aggregate_data, batch, groups)
#define DF_MERGE(batch, groups) DF_GROUPED(df_merge, batch, groups)
#define DF_FINAL(batch) DF_WORK(df_final, batch)
#define DF_GROUPED(name, batch, groups)                                   \
  static i32 df_work_##name(const df_batch* batch, u32 groups);           \
  DF_EXPORT(#name) i32 name(const df_batch* at, u32 n) { (void)n; return df_work_##name(at, df_group_count); } \
  static i32 df_work_##name(const df_batch* batch, u32 groups)

static inline const u32* df_group_of(const df_batch* batch) {
  return (const u32*)batch->array->children[batch->array->n_children - 1]->buffers[1];
}

#endif
