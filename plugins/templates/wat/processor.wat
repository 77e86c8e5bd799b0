;; my_plugin: the first column, Float64, times two, in place.
(func (export "process_data") (param $batch i32) (param i32) (result i32) (local $at i32) (local $end i32)
  (local.set $at (i32.load offset=4 (call $df_buffers (local.get $batch) (i32.const 0))))
  (local.set $end (i32.add (local.get $at) (i32.shl (call $df_rows (local.get $batch)) (i32.const 3))))
  (loop $next
    (if (i32.lt_u (local.get $at) (local.get $end)) (then
      (f64.store (local.get $at) (f64.mul (f64.load (local.get $at)) (f64.const 2)))
      (local.set $at (i32.add (local.get $at) (i32.const 8)))
      (br $next))))
  (call $df_return (local.get $batch)))
