;; dataflare.wat: what every dfx/1 plugin has, added after what is not a whole (module ...).
;; The first page of memory is the plugin's own, for data segments; batches and $df_take come after it.
(memory (export "memory") 2)
(global $df_top (mut i32) (i32.const 65536))
(global $df_floor (mut i32) (i32.const 65536))
(func (export "df_abi_version") (result i32) (i32.const 1))
(func (export "df_formats") (result i32) (i32.const 4))
(func (export "df_reset") (global.set $df_top (global.get $df_floor)))
;; Memory until the next call, 64-byte aligned; 0 when there is none.
(func $df_take (export "df_alloc") (param $bytes i32) (result i32) (local $at i32) (local $end i64)
  (local.set $at (global.get $df_top))
  (local.set $end (i64.and (i64.add (i64.add (i64.extend_i32_u (local.get $at)) (i64.extend_i32_u (local.get $bytes)))
    (i64.const 63)) (i64.const -64)))
  (if (i64.ge_u (local.get $end) (i64.const 0x80000000)) (then (return (i32.const 0))))
  (if (i64.gt_u (local.get $end) (i64.shl (i64.extend_i32_u (memory.size)) (i64.const 16))) (then
    (if (i32.eq (i32.const -1) (memory.grow (i32.sub
          (i32.wrap_i64 (i64.shr_u (i64.add (local.get $end) (i64.const 65535)) (i64.const 16))) (memory.size))))
      (then (return (i32.const 0))))))
  (global.set $df_top (i32.wrap_i64 (local.get $end)))
  (local.get $at))
;; The rows of a batch, and the buffers of its column at a place: 0 nulls, 4 values or offsets, 8 text.
(func $df_rows (param $batch i32) (result i32) (i32.wrap_i64 (i64.load (i32.load offset=4 (local.get $batch)))))
(func $df_buffers (param $batch i32) (param $place i32) (result i32)
  (i32.load offset=40 (i32.load (i32.add (i32.load offset=44 (i32.load offset=4 (local.get $batch)))
    (i32.shl (local.get $place) (i32.const 2))))))
;; Answer with a batch: one that was handed over and changed in place will do.
(func $df_return (param $batch i32) (result i32) (local $slice i32)
  (local.set $slice (call $df_take (i32.const 16)))
  (if (i32.eqz (local.get $slice)) (then (return (i32.const -4))))
  (i32.store (local.get $slice) (local.get $batch))
  (i32.store offset=4 (local.get $slice) (i32.const 8))
  (i32.store offset=8 (local.get $slice) (i32.const 3))
  (i32.store offset=12 (local.get $slice) (i32.const 0))
  (local.get $slice))
