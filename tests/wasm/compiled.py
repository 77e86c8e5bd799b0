"""Guests written in C with `plugins/abi/dataflare.h`, compiled when a test first needs one."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

from dataflare_nb.wasm import Plugin, WasmPluginConfig

HEADER = Path(__file__).parents[2] / "plugins" / "abi"
FLAGS = [
    "-target",
    "wasm32-freestanding",
    "-std=c11",
    "-O2",
    "-mbulk-memory",
    "-nostdlib",
    "-Wall",
    "-Wextra",
    "-Werror",
]
LENIENT = ["-Wno-unused-function", "-Wno-unused-parameter", "-fno-sanitize=all"]
LINK = ["-Wl,--no-entry", "-Wl,--export=__heap_base", "-Wl,-z,stack-size=65536"]


@lru_cache
def module(source: str, header: str = '#include "dataflare.h"\n') -> bytes:
    """Compile C to a module; it keeps the names of its functions."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "guest.c"
        path.write_text(header + source)
        command = [sys.executable, "-m", "ziglang", "cc", *FLAGS, *LENIENT, *LINK, f"-I{HEADER}"]
        done = subprocess.run(
            [*command, "-o", str(path.with_suffix(".wasm")), str(path)], capture_output=True, text=True, check=False
        )
        assert not done.returncode, done.stderr
        return path.with_suffix(".wasm").read_bytes()


def compiled(source: str, kind: str, name: str = "guest", *, defines: str = "", **fields: Any) -> Plugin:
    """Return such a guest as a plugin. `defines` stands before the header is included."""
    config = WasmPluginConfig.load({"name": name, "type": kind, "module_path": f"{name}.wasm", **fields})
    return Plugin.of(config, module(source, f'{defines}\n#include "dataflare.h"\n'))


DISTINCT = compiled(
    """
    DF_NO_INIT
    enum { BYTES = 32 }; /* how many of the numbers 0 to 255 a group has met: a set of bits as Binary state */

    static df_out states(u32 groups) {
      df_out out = df_out_bytes(groups, (u64)groups * BYTES, "z", "seen");
      if (!out.data) return out;
      __builtin_memset(out.data, 0, (u64)groups * BYTES);
      for (u32 g = 0; g < groups; g++) out.valid[g >> 3] |= (u8)(1 << (g & 7));
      for (u32 g = 0; g <= groups; g++) ((u32*)out.offsets)[g] = g * BYTES;
      return out;
    }

    DF_AGGREGATE(batch, groups) {
      const struct ArrowArray* x = df_find(batch, "", "l");
      if (!x) return df_fail(DF_E_TYPE, "distinct takes one Int64 column; cast it to pl.Int64");
      df_out out = states(groups);
      if (!out.data) return df_fail(DF_E_MEMORY, "no memory for the states");
      const i64* values = x->buffers[1];
      const u32* group = df_group_of(batch);
      for (u32 i = 0; i < (u32)x->length; i++) {
        u8 value = (u8)values[i];
        if (df_valid(x, i)) ((u8*)out.data)[group[i] * BYTES + (value >> 3)] |= (u8)(1 << (value & 7));
      }
      return df_return(&out, 1);
    }

    DF_MERGE(batch, groups) {
      const struct ArrowArray* seen = df_find(batch, "seen", "Z");
      if (!seen) return df_fail(DF_E_INPUT, "df_merge needs the state `seen`");
      df_out out = states(groups);
      if (!out.data) return df_fail(DF_E_MEMORY, "no memory for the states");
      const u32* group = df_group_of(batch);
      for (u32 i = 0; i < (u32)seen->length; i++) {
        u32 n;
        const u8* bits = (const u8*)df_text(seen, i, &n);
        for (u32 b = 0; b < BYTES && n == BYTES; b++) ((u8*)out.data)[group[i] * BYTES + b] |= bits[b];
      }
      return df_return(&out, 1);
    }

    DF_FINAL(batch) {
      const struct ArrowArray* seen = df_find(batch, "seen", "Z");
      if (!seen) return df_fail(DF_E_INPUT, "df_final needs the state `seen`");
      df_out out = df_out_rows((u32)seen->length, "L", "distinct");
      if (!out.data) return df_fail(DF_E_MEMORY, "no memory for the values");
      for (u32 i = 0; i < out.rows; i++) {
        u32 n;
        const u8* bits = (const u8*)df_text(seen, i, &n);
        u64 found = 0;
        for (u32 b = 0; b < n; b++) found += (u64)__builtin_popcount(bits[b]);
        ((u64*)out.data)[i] = found;
      }
      return df_return(&out, 1);
    }
    """,
    "Aggregator",
    "distinct",
)
"""How many different numbers (modulo 256) there are: one Binary state, merged by or."""

WEIGHTED = compiled(
    """
    DF_NO_INIT
    static i32 sums(const df_batch* batch, u32 groups, const double* x, const double* w, const u8* valid) {
      df_out out[2] = {df_out_rows(groups, "g", "sum"), df_out_rows(groups, "g", "weight")};
      if (!out[0].data || !out[1].data) return df_fail(DF_E_MEMORY, "no memory for the states");
      __builtin_memset(out[0].data, 0, groups * 8);
      __builtin_memset(out[1].data, 0, groups * 8);
      const u32* group = df_group_of(batch);
      for (u32 i = 0; i < (u32)batch->array->length; i++) {
        if (valid && !(valid[i >> 3] >> (i & 7) & 1)) continue;
        ((double*)out[0].data)[group[i]] += x[i];
        ((double*)out[1].data)[group[i]] += w[i];
      }
      return df_return(out, 2);
    }
    DF_AGGREGATE(batch, groups) {
      if (batch->schema->n_children != 3) return df_fail(DF_E_INPUT, "weighted takes a value and a weight");
      const struct ArrowArray *x = batch->array->children[0], *w = batch->array->children[1];
      if (!df_same(batch->schema->children[0]->format, "g") || !df_same(batch->schema->children[1]->format, "g"))
        return df_fail(DF_E_TYPE, "weighted takes Float64 columns");
      double* xw = df_take((u64)x->length * 8);
      if (!xw) return df_fail(DF_E_MEMORY, "no memory for products");
      const double *xs = x->buffers[1], *ws = w->buffers[1];
      for (u32 i = 0; i < (u32)x->length; i++) xw[i] = xs[i] * ws[i];
      return sums(batch, groups, xw, w->buffers[1], x->buffers[0]);
    }
    DF_MERGE(batch, groups) {
      return sums(batch, groups, df_find(batch, "sum", "g")->buffers[1], df_find(batch, "weight", "g")->buffers[1], 0);
    }
    DF_FINAL(batch) {
      const double* sum = df_find(batch, "sum", "g")->buffers[1];
      const double* weight = df_find(batch, "weight", "g")->buffers[1];
      u32 rows = (u32)batch->array->length;
      df_out out[2] = {df_out_rows(rows, "g", "mean"), df_out_rows(rows, "g", "weight")};
      for (u32 i = 0; i < out[0].rows; i++) {
        ((double*)out[0].data)[i] = sum[i] / weight[i];
        ((double*)out[1].data)[i] = weight[i];
      }
      return df_return(out, 2);
    }
    """,
    "Aggregator",
    "weighted",
)
"""The mean of a value by a weight, and the weight: two plain columns of state, a struct as value."""

JOINED = compiled(
    """
    DF_NO_INIT
    DF_AGGREGATE(batch, groups) { /* the texts of a group one after the other, in the order they came */
      const struct ArrowArray* s = df_find(batch, "", "U");
      if (!s) return df_fail(DF_E_TYPE, "joined takes one text column");
      const i64* at = s->buffers[1];
      df_out out = df_out_bytes(groups, (u64)at[s->length], "u", "joined");
      if (!out.data) return df_fail(DF_E_MEMORY, "no memory for the text");
      const u32* group = df_group_of(batch);
      u32 end = 0, row = 0;
      for (u32 g = 0; g < groups; g++) {
        for (; row < (u32)s->length && group[row] == g; row++) {
          u32 n;
          const char* text = df_text(s, row, &n);
          if (!df_valid(s, row)) continue;
          __builtin_memcpy((char*)out.data + end, text, n);
          end += n;
        }
        out.valid[g >> 3] |= (u8)(1 << (g & 7));
        ((u32*)out.offsets)[g + 1] = end;
      }
      return df_return(&out, 1);
    }
    """,
    "Aggregator",
    "joined",
)
"""Texts put together: no merge, no final, and the order counts."""


_NUMBERS = """
    static u32 next, last = 100, each = 7;
    static char split[16] = "all";
    static u32 number(const char* text) {
      u32 n = 0;
      for (; *text >= '0' && *text <= '9'; text++) n = n * 10 + (u32)(*text - '0');
      return n;
    }
    DF_INIT(json, length) {
      char text[16];
      if (df_setting(json, length, "rows", text, sizeof text)) last = number(text);
      if (df_setting(json, length, "each", text, sizeof text)) each = number(text);
      if (!each) return df_fail(DF_E_CONFIG, "each is how many rows a batch has, at least 1");
      df_setting(json, length, "split", split, sizeof split);
      return 0;
    }
    DF_READ() { /* n from 0, and the split's name with it; batches of `each` rows */
      if (next >= last) return DF_END;
      u32 rows = next + each < last ? each : last - next, name = 0;
      while (split[name]) name++;
      df_out out[2] = {df_out_rows(rows, "l", "n"), df_out_bytes(rows, (u64)rows * name, "u", "split")};
      if (!out[0].data || !out[1].data) return df_fail(DF_E_MEMORY, "no memory for a batch");
      for (u32 i = 0; i < rows; i++) {
        ((i64*)out[0].data)[i] = next++;
        __builtin_memcpy((char*)out[1].data + i * name, split, name);
        out[1].valid[i >> 3] |= (u8)(1 << (i & 7));
        ((u32*)out[1].offsets)[i + 1] = (i + 1) * name;
      }
      return df_return(out, 2);
    }
"""


def numbers(*, seeks: bool = True, **config: object) -> Plugin:
    """Return a source of numbers; one that `seeks` tells its position and is not read again to go on."""
    source = _NUMBERS + ("DF_POSITION(next)" if seeks else "")
    return compiled(source, "Source", "numbers", config=config)
