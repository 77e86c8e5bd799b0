/* my_plugin: keep the rows whose column `value` is at least the setting `least`. */
#include "dataflare.h"

static double least;

DF_INIT(json, length) {
  least = df_setting_number(json, length, "least", 0);
  return 0;
}

DF_FILTER(batch) {
  const struct ArrowArray* value = df_find(batch, "value", "g");
  if (!value) return df_fail(DF_E_INPUT, "my_plugin needs a column `value` of type Float64");
  df_out keep = df_out_rows((u32)batch->array->length, "b", "keep");
  if (!keep.data) return df_fail(DF_E_MEMORY, "no memory for the result");
  const double* in = (const double*)value->buffers[1];
  u8* bits = (u8*)keep.data;
  for (u32 row = 0; row < keep.rows; row++) {
    if (!(row & 7)) bits[row >> 3] = 0;
    if (df_valid(value, row) && in[row] >= least) bits[row >> 3] |= (u8)(1 << (row & 7));
  }
  return df_return(&keep, 1);
}
