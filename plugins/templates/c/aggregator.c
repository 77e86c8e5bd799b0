/* my_plugin: the mean of a column. The state of a group is its sum and how many values it had. */
#include "dataflare.h"

DF_NO_INIT

static i32 states(const double* sums, const i64* counts, u32 groups) {
  df_out outs[2] = {df_out_rows(groups, "g", "sum"), df_out_rows(groups, "l", "count")};
  if (!outs[0].data || !outs[1].data) return df_fail(DF_E_MEMORY, "no memory for the result");
  __builtin_memcpy(outs[0].data, sums, groups * 8);
  __builtin_memcpy(outs[1].data, counts, groups * 8);
  return df_return(outs, 2);
}

/* Add up rows by their group; `counts` is NULL where each row counts once. */
static i32 add_up(const df_batch* batch, const struct ArrowArray* value, const i64* counts, u32 groups) {
  const double* in = (const double*)value->buffers[1];
  const u32* group_of = df_group_of(batch);
  double* sums = (double*)df_take((u64)groups * 8);
  i64* totals = (i64*)df_take((u64)groups * 8);
  if (!sums || !totals) return df_fail(DF_E_MEMORY, "no memory for the result");
  __builtin_memset(sums, 0, groups * 8);
  __builtin_memset(totals, 0, groups * 8);
  for (u32 row = 0; row < (u32)batch->array->length; row++) {
    if (!df_valid(value, row)) continue;
    sums[group_of[row]] += in[row];
    totals[group_of[row]] += counts ? counts[row] : 1;
  }
  return states(sums, totals, groups);
}

DF_AGGREGATE(batch, groups) {
  const struct ArrowArray* value = df_column(batch, 0, "g");
  if (!value) return df_fail(DF_E_TYPE, "my_plugin takes one Float64 column");
  return add_up(batch, value, NULL, groups);
}

DF_MERGE(batch, groups) {
  return add_up(batch, df_find(batch, "sum", "g"), (const i64*)df_find(batch, "count", "l")->buffers[1], groups);
}

DF_FINAL(batch) {
  const double* sums = (const double*)df_find(batch, "sum", "g")->buffers[1];
  const i64* counts = (const i64*)df_find(batch, "count", "l")->buffers[1];
  df_out out = df_out_nullable((u32)batch->array->length, "g", "my_plugin");
  if (!out.data) return df_fail(DF_E_MEMORY, "no memory for the result");
  for (u32 row = 0; row < out.rows; row++) {
    if (!counts[row]) continue;
    ((double*)out.data)[row] = sums[row] / (double)counts[row];
    df_set_valid(&out, row);
  }
  return df_return(&out, 1);
}
