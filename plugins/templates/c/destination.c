/* my_plugin: count what comes, and tell the sum at each commit. */
#include "dataflare.h"

static double sum;

DF_NO_INIT

DF_WRITE(batch) {
  const struct ArrowArray* value = df_find(batch, "value", "g");
  if (!value) return df_fail(DF_E_INPUT, "my_plugin needs a column `value` of type Float64");
  const double* in = (const double*)value->buffers[1];
  for (u32 row = 0; row < (u32)batch->array->length; row++)
    if (df_valid(value, row)) sum += in[row];
  host_counter("rows", 4, batch->array->length);
  return 0;
}

DF_PREPARE(epoch) {
  (void)epoch;
  return df_return_bytes(&sum, sizeof sum, 0);
}

DF_COMMIT(epoch, token, length) {
  (void)epoch, (void)token, (void)length;
  host_log(DF_INFO, "committed", 9);
  return 0;
}
