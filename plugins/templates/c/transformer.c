/* my_plugin: the rows whose column `value` is not null, and nothing but it. */
#include "dataflare.h"

DF_NO_INIT

DF_TRANSFORM(batch) {
  const struct ArrowArray* value = df_find(batch, "value", "g");
  if (!value) return df_fail(DF_E_INPUT, "my_plugin needs a column `value` of type Float64");
  df_out out = df_out_rows((u32)batch->array->length, "g", "value");
  if (!out.data) return df_fail(DF_E_MEMORY, "no memory for the result");
  const double* in = (const double*)value->buffers[1];
  u32 kept = 0;
  for (u32 row = 0; row < out.rows; row++)
    if (df_valid(value, row)) ((double*)out.data)[kept++] = in[row];
  out.rows = kept;
  return df_return(&out, 1);
}
