"""What CPython's numbers need and WebAssembly has no instruction for. All of it ends in bounded time."""

from __future__ import annotations

from .calendar import CALENDAR
from .helpers_round import ROUNDING

COMPARE = """
  ;; Compare an int with a float exactly: -1, 0, 1, or 2 if the float is not a number.
  (func $compare (param $i i64) (param $f f64) (result i32) (local $r f64) (local $t i64)
    (if (f64.ne (local.get $f) (local.get $f)) (then (return (i32.const 2))))
    (local.set $r (f64.convert_i64_s (local.get $i)))
    ;; Rounding is monotonic, so only a tie needs the exact integers.
    (if (f64.lt (local.get $r) (local.get $f)) (then (return (i32.const -1))))
    (if (f64.gt (local.get $r) (local.get $f)) (then (return (i32.const 1))))
    (if (f64.ge (local.get $f) (f64.const 0x1p63)) (then (return (i32.const -1))))
    (local.set $t (i64.trunc_f64_s (local.get $f)))
    (i32.sub (i64.gt_s (local.get $i) (local.get $t)) (i64.lt_s (local.get $i) (local.get $t))))
"""

MULTIPLY = """
  (func $product_overflows (param $a i64) (param $b i64) (result i32)
    (if (i64.eqz (local.get $a)) (then (return (i32.const 0))))
    (if (i64.eq (local.get $a) (i64.const -1))
      (then (return (i64.eq (local.get $b) (i64.const 0x8000000000000000)))))
    (i64.ne (i64.div_s (i64.mul (local.get $a) (local.get $b)) (local.get $a)) (local.get $b)))
"""

DIVIDE = """
  ;; int / int, rounded once. The divisor is not zero.
  (func $true_divide (param $a i64) (param $b i64) (result f64)
    (local $ua i64) (local $ub i64) (local $q i64) (local $carry i64) (local $n i32) (local $scale i32)
    (if (i32.and
          (i64.le_u (i64.add (local.get $a) (i64.const 0x20000000000000)) (i64.const 0x40000000000000))
          (i64.le_u (i64.add (local.get $b) (i64.const 0x20000000000000)) (i64.const 0x40000000000000)))
      (then (return (f64.div (f64.convert_i64_s (local.get $a)) (f64.convert_i64_s (local.get $b))))))
    (if (i64.eqz (local.get $a))
      (then (return (f64.copysign (f64.const 0) (f64.convert_i64_s (local.get $b))))))
    (local.set $ua (select (i64.sub (i64.const 0) (local.get $a)) (local.get $a)
      (i64.lt_s (local.get $a) (i64.const 0))))
    (local.set $ub (select (i64.sub (i64.const 0) (local.get $b)) (local.get $b)
      (i64.lt_s (local.get $b) (i64.const 0))))
    ;; Long division of the two, both shifted up to bit 63: one bit, then 62 more, then a sticky bit.
    (local.set $scale (i32.sub
      (i32.wrap_i64 (i64.clz (local.get $ub))) (i32.wrap_i64 (i64.clz (local.get $ua)))))
    (local.set $ua (i64.shl (local.get $ua) (i64.clz (local.get $ua))))
    (local.set $ub (i64.shl (local.get $ub) (i64.clz (local.get $ub))))
    (if (i64.ge_u (local.get $ua) (local.get $ub))
      (then (local.set $q (i64.const 1)) (local.set $ua (i64.sub (local.get $ua) (local.get $ub)))))
    (local.set $n (i32.const 62))
    (loop $bit
      (local.set $carry (i64.shr_u (local.get $ua) (i64.const 63)))
      (local.set $ua (i64.shl (local.get $ua) (i64.const 1)))
      (local.set $q (i64.shl (local.get $q) (i64.const 1)))
      (if (i32.or (i32.wrap_i64 (local.get $carry)) (i64.ge_u (local.get $ua) (local.get $ub)))
        (then
          (local.set $ua (i64.sub (local.get $ua) (local.get $ub)))
          (local.set $q (i64.or (local.get $q) (i64.const 1)))))
      (br_if $bit (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.set $q (i64.or (local.get $q) (i64.extend_i32_u (i64.ne (local.get $ua) (i64.const 0)))))
    (f64.mul
      (f64.mul
        (f64.convert_i64_u (local.get $q))
        (f64.reinterpret_i64 (i64.shl
          (i64.extend_i32_u (i32.add (local.get $scale) (i32.const 961))) (i64.const 52))))
      (select (f64.const -1) (f64.const 1)
        (i64.lt_s (i64.xor (local.get $a) (local.get $b)) (i64.const 0)))))
"""

FMOD = """
  ;; C's fmod: exact, with the sign of x.
  (func $fmod (param $x f64) (param $y f64) (result f64)
    (local $ux i64) (local $uy i64) (local $ex i64) (local $ey i64) (local $i i64)
    (local.set $ux (i64.and (i64.reinterpret_f64 (local.get $x)) (i64.const 0x7fffffffffffffff)))
    (local.set $uy (i64.and (i64.reinterpret_f64 (local.get $y)) (i64.const 0x7fffffffffffffff)))
    (local.set $ex (i64.shr_u (local.get $ux) (i64.const 52)))
    (local.set $ey (i64.shr_u (local.get $uy) (i64.const 52)))
    (if (i32.or (i32.or (i64.eqz (local.get $uy)) (f64.ne (local.get $y) (local.get $y)))
          (i64.eq (local.get $ex) (i64.const 0x7ff)))
      (then
        (local.set $x (f64.mul (local.get $x) (local.get $y)))
        (return (f64.div (local.get $x) (local.get $x)))))
    (if (i64.lt_u (local.get $ux) (local.get $uy)) (then (return (local.get $x))))
    (if (i64.eq (local.get $ux) (local.get $uy)) (then (return (f64.copysign (f64.const 0) (local.get $x)))))
    (if (i64.eqz (local.get $ex))
      (then
        (local.set $i (i64.clz (i64.shl (local.get $ux) (i64.const 12))))
        (local.set $ex (i64.sub (i64.const 0) (local.get $i)))
        (local.set $ux (i64.shl (local.get $ux) (i64.add (local.get $i) (i64.const 1)))))
      (else (local.set $ux (i64.or
        (i64.and (local.get $ux) (i64.const 0xfffffffffffff)) (i64.const 0x10000000000000)))))
    (if (i64.eqz (local.get $ey))
      (then
        (local.set $i (i64.clz (i64.shl (local.get $uy) (i64.const 12))))
        (local.set $ey (i64.sub (i64.const 0) (local.get $i)))
        (local.set $uy (i64.shl (local.get $uy) (i64.add (local.get $i) (i64.const 1)))))
      (else (local.set $uy (i64.or
        (i64.and (local.get $uy) (i64.const 0xfffffffffffff)) (i64.const 0x10000000000000)))))
    (block $reduced
      (loop $digit
        (br_if $reduced (i64.le_s (local.get $ex) (local.get $ey)))
        (local.set $i (i64.sub (local.get $ux) (local.get $uy)))
        (if (i64.ge_s (local.get $i) (i64.const 0))
          (then
            (if (i64.eqz (local.get $i)) (then (return (f64.copysign (f64.const 0) (local.get $x)))))
            (local.set $ux (local.get $i))))
        (local.set $ux (i64.shl (local.get $ux) (i64.const 1)))
        (local.set $ex (i64.sub (local.get $ex) (i64.const 1)))
        (br $digit)))
    (local.set $i (i64.sub (local.get $ux) (local.get $uy)))
    (if (i64.ge_s (local.get $i) (i64.const 0))
      (then
        (if (i64.eqz (local.get $i)) (then (return (f64.copysign (f64.const 0) (local.get $x)))))
        (local.set $ux (local.get $i))))
    (local.set $i (i64.sub (i64.clz (local.get $ux)) (i64.const 11)))
    (local.set $ux (i64.shl (local.get $ux) (local.get $i)))
    (local.set $ex (i64.sub (local.get $ex) (local.get $i)))
    (local.set $ux (if (result i64) (i64.gt_s (local.get $ex) (i64.const 0))
      (then (i64.or (i64.sub (local.get $ux) (i64.const 0x10000000000000))
        (i64.shl (local.get $ex) (i64.const 52))))
      (else (i64.shr_u (local.get $ux) (i64.sub (i64.const 1) (local.get $ex))))))
    (f64.copysign (f64.reinterpret_i64 (local.get $ux)) (local.get $x)))
"""

MODULO = """
  ;; float % float with the sign of the divisor, which is not zero.
  (func $modulo (param $x f64) (param $y f64) (result f64) (local $m f64)
    (local.set $m (call $fmod (local.get $x) (local.get $y)))
    (if (f64.eq (local.get $m) (f64.const 0)) (then (return (f64.copysign (f64.const 0) (local.get $y)))))
    (if (result f64) (i32.ne (f64.lt (local.get $y) (f64.const 0)) (f64.lt (local.get $m) (f64.const 0)))
      (then (f64.add (local.get $m) (local.get $y)))
      (else (local.get $m))))
"""

FLOOR_DIVIDE = """
  ;; float // float as CPython computes it; the divisor is not zero.
  (func $floor_divide (param $x f64) (param $y f64) (result f64) (local $m f64) (local $d f64) (local $f f64)
    (local.set $m (call $fmod (local.get $x) (local.get $y)))
    (local.set $d (f64.div (f64.sub (local.get $x) (local.get $m)) (local.get $y)))
    (if (i32.and (f64.ne (local.get $m) (f64.const 0))
          (i32.ne (f64.lt (local.get $y) (f64.const 0)) (f64.lt (local.get $m) (f64.const 0))))
      (then (local.set $d (f64.sub (local.get $d) (f64.const 1)))))
    (if (f64.eq (local.get $d) (f64.const 0))
      (then (return (f64.copysign (f64.const 0) (f64.div (local.get $x) (local.get $y))))))
    (local.set $f (f64.floor (local.get $d)))
    (if (result f64) (f64.gt (f64.sub (local.get $d) (local.get $f)) (f64.const 0.5))
      (then (f64.add (local.get $f) (f64.const 1)))
      (else (local.get $f))))
"""

CLEAR_BIT = """
  (func $clear_bit (param $bits i32) (param $row i32) (local $at i32)
    (local.set $at (i32.add (local.get $bits) (i32.shr_u (local.get $row) (i32.const 3))))
    (i32.store8 (local.get $at) (i32.and (i32.load8_u (local.get $at))
      (i32.xor (i32.const -1) (i32.shl (i32.const 1) (i32.and (local.get $row) (i32.const 7)))))))
"""

TWO_BYTES = """
  ;; Two bits as two bytes.
  (func $two_bytes (param $bits i32) (result i32)
    (i32.or
      (i32.and (local.get $bits) (i32.const 1))
      (i32.shl (i32.and (local.get $bits) (i32.const 2)) (i32.const 7))))
"""

HELPERS = {
    "two_bytes": (TWO_BYTES, ()),
    "clear_bit": (CLEAR_BIT, ()),
    "compare": (COMPARE, ()),
    "product_overflows": (MULTIPLY, ()),
    "true_divide": (DIVIDE, ()),
    "fmod": (FMOD, ()),
    "modulo": (MODULO, ("fmod",)),
    "floor_divide": (FLOOR_DIVIDE, ("fmod",)),
    **ROUNDING,
    **CALENDAR,
}


def closure(wanted: set[str]) -> str:
    """Return the code of the helpers named, with what they call."""
    needed: set[str] = set()
    open_ = list(wanted)
    while open_:
        name = open_.pop()
        if name not in needed:
            needed.add(name)
            open_ += HELPERS[name][1]
    return "".join(HELPERS[name][0] for name in HELPERS if name in needed)
