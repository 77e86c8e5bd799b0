/* my_plugin: the numbers from 0 to the setting `count`, some at a time. */
#include "dataflare.h"

enum { BATCH = 1000 };
static i64 next, count;

DF_POSITION(next)

DF_INIT(json, length) {
  count = (i64)df_setting_number(json, length, "count", 10);
  return 0;
}

DF_READ() {
  if (next >= count) return DF_END;
  u32 rows = count - next < BATCH ? (u32)(count - next) : BATCH;
  df_out out = df_out_rows(rows, "l", "number");
  if (!out.data) return df_fail(DF_E_MEMORY, "no memory for the numbers");
  for (u32 row = 0; row < rows; row++) ((i64*)out.data)[row] = next++;
  return df_return(&out, 1);
}
