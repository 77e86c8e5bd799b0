/* hyperloglog: about how many different values a column has, in a few kilobytes whatever there is.
 *
 * P. Flajolet, E. Fusy, O. Gandouet, F. Meunier, "HyperLogLog" (2007), with hashes of 64 bits and the estimator of
 * O. Ertl, "New cardinality estimation algorithms for HyperLogLog sketches" (2017), algorithm 6, which needs no tables
 * and no special case for few values. Words are mixed by the finalizer of MurmurHash3 (A. Appleby, public domain).
 *
 * The state of a group is one column of bytes: 0 or 1, the precision, then for 0 the registers that are not zero, as
 * u32 place << 8 | rank, ascending, and for 1 all registers. Which it is depends on the registers alone, so the state is
 * the same however rows were cut. */
#include "dataflare.h"

enum { SPARSE, DENSE, HEAD = 2, MOST_PRECISION = 16, LEAST_PRECISION = 4 };
static u32 precision = 12, count;
static char name[128] = "n_unique";
static u8 registers[1 << MOST_PRECISION];

DF_INIT(json, length) {
  double wanted = df_setting_number(json, length, "precision", 12);
  if (wanted != (u32)wanted || wanted < LEAST_PRECISION || wanted > MOST_PRECISION)
    return df_fail(DF_E_CONFIG, "precision is a whole number from 4 to 16");
  precision = (u32)wanted;
  count = 1u << precision;
  df_setting(json, length, "column", name, sizeof name);
  return 0;
}

/* ---- hashing ---- */

static inline u64 mix(u64 h) {
  h = (h ^ h >> 33) * 0xff51afd7ed558ccdull;
  h = (h ^ h >> 33) * 0xc4ceb9fe1a85ec53ull;
  return h ^ h >> 33;
}

static inline u64 hash_start(u32 length) { return mix(length + 0x9e3779b97f4a7c15ull); }

static u64 hash_bytes(const char* at, u32 length) {
  u64 h = hash_start(length), word;
  for (; length >= 8; at += 8, length -= 8) {
    __builtin_memcpy(&word, at, 8);
    h = mix(h ^ word);
  }
  if (length) {
    __builtin_memcpy(&word, at, 8); /* there are 16 readable bytes behind */
    h = mix(h ^ (word & ((1ull << 8 * length) - 1)));
  }
  return h;
}

static inline u64 hash_word(u64 word) { return mix(hash_start(8) ^ word); }

static inline void add(u64 hash) {
  u32 place = (u32)(hash >> (64 - precision));
  u8 rank = (u8)(__builtin_clzll(hash << precision | 1ull << (precision - 1)) + 1);
  if (rank > registers[place]) registers[place] = rank;
}

static u64 bits_of(double x) {
  u64 bits;
  if (x != x) return 0x7ff8000000000000ull;
  x += 0.0; /* minus zero is zero */
  __builtin_memcpy(&bits, &x, 8);
  return bits;
}

/* ---- rows by group ---- */

typedef struct { u32* rows; u32* starts; } sorted;

static sorted by_group(const df_batch* batch, u32 groups) {
  u32 rows = (u32)batch->array->length;
  const u32* group_of = df_group_of(batch);
  sorted s = {df_take((u64)rows * 4), df_take(((u64)groups + 2) * 4)};
  if (!s.rows || !s.starts) return s.rows = NULL, s;
  __builtin_memset(s.starts, 0, (groups + 2) * 4);
  for (u32 row = 0; row < rows; row++) s.starts[group_of[row] + 2]++;
  for (u32 group = 0; group < groups; group++) s.starts[group + 2] += s.starts[group + 1];
  for (u32 row = 0; row < rows; row++) s.rows[s.starts[group_of[row] + 1]++] = row;
  return s;
}

/* ---- states ---- */

static int put_state(df_out* out, u32 group) {
  u32 used = 0;
  for (u32 i = 0; i < count; i++) used += registers[i] != 0;
  int dense = used * 4 >= count;
  u32 size = HEAD + (dense ? count : used * 4);
  if (!df_room(out, group, size)) return 0;
  u8* to = (u8*)out->data + ((u32*)out->offsets)[group];
  *to++ = dense ? DENSE : SPARSE;
  *to++ = (u8)precision;
  if (dense) __builtin_memcpy(to, registers, count);
  else
    for (u32 i = 0; i < count; i++)
      if (registers[i]) {
        u32 entry = i << 8 | registers[i];
        __builtin_memcpy(to, &entry, 4);
        to += 4;
      }
  ((u32*)out->offsets)[group + 1] = ((u32*)out->offsets)[group] + size;
  df_set_valid(out, group);
  return 1;
}

/* Whether bytes are a state of this precision. */
static int is_state(const u8* at, u32 size) {
  if (size < HEAD || at[1] != precision) return 0;
  if (at[0] == DENSE) return size == HEAD + count;
  if (at[0] != SPARSE || (size - HEAD) % 4) return 0;
  for (u32 i = HEAD; i < size; i += 4) {
    u32 entry;
    __builtin_memcpy(&entry, at + i, 4);
    if (entry >> 8 >= count || (entry & 255) > 65 - precision) return 0;
  }
  return 1;
}

static inline void raise(u32 place, u8 rank) {
  if (rank > registers[place]) registers[place] = rank;
}

static void merge_state(const u8* at, u32 size) {
  if (at[0] == DENSE) {
    for (u32 i = 0; i < count; i++) raise(i, at[HEAD + i]);
    return;
  }
  for (u32 i = HEAD; i < size; i += 4) {
    u32 entry;
    __builtin_memcpy(&entry, at + i, 4);
    raise(entry >> 8, (u8)entry);
  }
}

/* ---- the estimate ---- */

static double sigma(double x) {
  if (x == 1) return __builtin_inf();
  double y = 1, z = x, before;
  do {
    x *= x;
    before = z;
    z += x * y;
    y += y;
  } while (z != before);
  return z;
}

static double tau(double x) {
  if (x == 0 || x == 1) return 0;
  double y = 1, z = 1 - x, before;
  do {
    x = __builtin_sqrt(x);
    before = z;
    y *= 0.5;
    z -= (1 - x) * (1 - x) * y;
  } while (z != before);
  return z / 3;
}

static i64 estimate(const u8* at, u32 size) {
  u32 of_rank[66] = {0}, last = 65 - precision;
  if (at[0] == DENSE) {
    for (u32 i = 0; i < count; i++) of_rank[at[HEAD + i] > last ? last : at[HEAD + i]]++;
  } else {
    of_rank[0] = count - (size - HEAD) / 4;
    for (u32 i = HEAD; i < size; i += 4) of_rank[at[i]]++;
  }
  double m = count, z = m * tau(1 - of_rank[last] / m);
  for (u32 rank = last - 1; rank >= 1; rank--) z = 0.5 * (z + of_rank[rank]);
  z += m * sigma(of_rank[0] / m);
  return (i64)(0.7213475204444817 * m * m / z + 0.5); /* 1 / (2 ln 2) */
}

/* ---- the work ---- */

static int add_values(const struct ArrowArray* column, char kind, u32 width, const u32* row, const u32* end) {
  const void* values = column->buffers[1];
  for (; row < end; row++) {
    if (!df_valid(column, *row)) continue;
    u32 length;
    switch (kind) {
      case 'U': case 'Z': {
        const char* text = df_text(column, *row, &length);
        add(hash_bytes(text, length));
        break;
      }
      case 'b': add(hash_word(((const u8*)values)[*row >> 3] >> (*row & 7) & 1)); break;
      case 'f': add(hash_word(bits_of(((const float*)values)[*row]))); break;
      case 'g': add(hash_word(bits_of(((const double*)values)[*row]))); break;
      case 'C': add(hash_word(((const u8*)values)[*row])); break;
      case 'S': add(hash_word(((const unsigned short*)values)[*row])); break;
      case 'I': add(hash_word(((const u32*)values)[*row])); break;
      case 'c': add(hash_word((u64)((const signed char*)values)[*row])); break;
      case 's': add(hash_word((u64)((const short*)values)[*row])); break;
      default: add(hash_word(width == 4 ? (u64)((const i32*)values)[*row] : ((const u64*)values)[*row]));
    }
  }
  return 1;
}

static i32 no_memory(void) { return df_fail(DF_E_MEMORY, "no memory for the registers"); }

DF_AGGREGATE(batch, groups) {
  const struct ArrowArray* column = batch->array->children[0];
  const char* format = batch->schema->children[0]->format;
  if (batch->schema->n_children != 2) return df_fail(DF_E_INPUT, "hyperloglog takes one column");
  sorted s = by_group(batch, groups);
  df_out out = df_out_bytes(groups, (u64)groups * 64, "z", "state");
  if (!s.rows || !out.data) return no_memory();
  for (u32 group = 0; group < groups; group++) {
    __builtin_memset(registers, 0, count);
    add_values(column, *format, df_width(format), s.rows + s.starts[group], s.rows + s.starts[group + 1]);
    if (!put_state(&out, group)) return no_memory();
  }
  return df_return(&out, 1);
}

DF_MERGE(batch, groups) {
  const struct ArrowArray* states = df_find(batch, "state", "Z");
  if (!states) return df_fail(DF_E_INPUT, "there is no column of states");
  sorted s = by_group(batch, groups);
  df_out out = df_out_bytes(groups, (u64)groups * 64, "z", "state");
  if (!s.rows || !out.data) return no_memory();
  for (u32 group = 0; group < groups; group++) {
    __builtin_memset(registers, 0, count);
    for (u32 i = s.starts[group]; i < s.starts[group + 1]; i++) {
      u32 size;
      const u8* at = (const u8*)df_text(states, s.rows[i], &size);
      if (!is_state(at, size)) return df_fail(DF_E_INPUT, "a state is of another precision, or none");
      merge_state(at, size);
    }
    if (!put_state(&out, group)) return no_memory();
  }
  return df_return(&out, 1);
}

DF_FINAL(batch) {
  const struct ArrowArray* states = df_find(batch, "state", "Z");
  if (!states) return df_fail(DF_E_INPUT, "there is no column of states");
  df_out out = df_out_rows((u32)batch->array->length, "l", name);
  if (!out.data) return no_memory();
  for (u32 row = 0; row < out.rows; row++) {
    u32 size;
    const u8* at = (const u8*)df_text(states, row, &size);
    if (!is_state(at, size)) return df_fail(DF_E_INPUT, "a state is of another precision, or none");
    ((i64*)out.data)[row] = estimate(at, size);
  }
  return df_return(&out, 1);
}
