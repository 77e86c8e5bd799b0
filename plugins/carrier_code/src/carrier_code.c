/* carrier_code: the name of the airline behind a two-letter IATA code. An unknown code gives null. */
#include "dataflare.h"

enum { LONGEST = 32 };
typedef struct { char code[3]; u8 length; char name[LONGEST]; } carrier;
#define CARRIER(code, name) {code, sizeof name - 1, name}

/* The sixteen carriers that flew from New York in 2013. */
static const carrier carriers[] = {
    CARRIER("9E", "Endeavor Air Inc."),
    CARRIER("AA", "American Airlines Inc."),
    CARRIER("AS", "Alaska Airlines Inc."),
    CARRIER("B6", "JetBlue Airways"),
    CARRIER("DL", "Delta Air Lines Inc."),
    CARRIER("EV", "ExpressJet Airlines Inc."),
    CARRIER("F9", "Frontier Airlines Inc."),
    CARRIER("FL", "AirTran Airways Corporation"),
    CARRIER("HA", "Hawaiian Airlines Inc."),
    CARRIER("MQ", "Envoy Air"),
    CARRIER("OO", "SkyWest Airlines Inc."),
    CARRIER("UA", "United Air Lines Inc."),
    CARRIER("US", "US Airways Inc."),
    CARRIER("VX", "Virgin America"),
    CARRIER("WN", "Southwest Airlines Co."),
    CARRIER("YV", "Mesa Airlines Inc."),
};
static u8 table[65536]; /* both letters of a code to its place in `carriers`, plus one */
static char column[128] = "airline";

static inline u32 slot(const char* code) { return (u32)(u8)code[0] | (u32)(u8)code[1] << 8; }

DF_INIT(json, length) {
  for (u32 i = 0; i < sizeof carriers / sizeof *carriers; i++) table[slot(carriers[i].code)] = (u8)(i + 1);
  df_setting(json, length, "column", column, sizeof column);
  return 0;
}

DF_PROCESS(batch) {
  const struct ArrowArray* codes = df_find(batch, "", "U");
  if (!codes) return df_fail(DF_E_TYPE, "carrier_code takes one text column; cast it to pl.String");
  df_out out = df_out_text(batch, (u64)batch->array->length * LONGEST, column);
  if (!out.data) return df_fail(DF_E_MEMORY, "no memory for the names");
  u32* ends = out.offsets;
  char* text = out.data;
  u32 at = 0;
  for (u32 i = 0; i < out.rows; i++) {
    u32 n;
    const char* code = df_text(codes, i, &n);
    u32 found = n == 2 && df_valid(codes, i) ? table[slot(code)] : 0;
    if (found) {
      const carrier* c = &carriers[found - 1];
      /* A copy of fixed size is two vector stores; what is too much is overwritten by the next name. */
      __builtin_memcpy(text + at, c->name, LONGEST);
      at += c->length;
      out.valid[i >> 3] |= (u8)(1 << (i & 7));
    }
    ends[i + 1] = at;
  }
  return df_return(&out, 1);
}
