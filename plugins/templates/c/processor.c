/* my_plugin: what the column `value` is, times the setting `factor`. */
#include "dataflare.h"

static double factor;

DF_INIT(json, length) {
  factor = df_setting_number(json, length, "factor", 2);
  return 0;
}

DF_PROCESS(batch) {
  const struct ArrowArray* value = df_find(batch, "value", "g");
  if (!value) return df_fail(DF_E_INPUT, "my_plugin needs a column `value` of type Float64");
  df_out out = df_out_like(batch, value, "g", "my_plugin");
  if (!out.data) return df_fail(DF_E_MEMORY, "no memory for the result");
  const double* in = (const double*)value->buffers[1];
  for (u32 row = 0; row < out.rows; row++) ((double*)out.data)[row] = in[row] * factor;
  return df_return(&out, 1);
}
