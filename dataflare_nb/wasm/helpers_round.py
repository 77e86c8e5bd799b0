"""Powers of ints, and decimal rounding of floats as CPython does it: on the exact decimal value."""

from __future__ import annotations

POWER = """
  ;; int ** int with an exponent that is not negative, and whether it overflows.
  (func $int_power (param $a i64) (param $n i64) (result i64 i32) (local $r i64)
    (local.set $r (i64.const 1))
    (loop $bit
      (if (i64.ne (i64.and (local.get $n) (i64.const 1)) (i64.const 0)) (then
        (if (call $product_overflows (local.get $r) (local.get $a)) (then (return (i64.const 0) (i32.const 1))))
        (local.set $r (i64.mul (local.get $r) (local.get $a)))))
      (local.set $n (i64.shr_u (local.get $n) (i64.const 1)))
      (if (i64.eqz (local.get $n)) (then (return (local.get $r) (i32.const 0))))
      ;; Another factor is to come, so that a square which overflows is no loss.
      (if (call $product_overflows (local.get $a) (local.get $a)) (then (return (i64.const 0) (i32.const 1))))
      (local.set $a (i64.mul (local.get $a) (local.get $a)))
      (br $bit))
    unreachable)
"""

TWO_PRODUCT = """
  ;; The product of two floats that is neither too large nor too small, as a float and the rest: exact.
  (func $two_product (param $a f64) (param $b f64) (result f64 f64)
    (local $p f64) (local $ah f64) (local $al f64) (local $bh f64) (local $bl f64)
    (local.set $p (f64.mul (local.get $a) (local.get $b)))
    (local.set $ah (f64.mul (local.get $a) (f64.const 134217729)))
    (local.set $ah (f64.sub (local.get $ah) (f64.sub (local.get $ah) (local.get $a))))
    (local.set $al (f64.sub (local.get $a) (local.get $ah)))
    (local.set $bh (f64.mul (local.get $b) (f64.const 134217729)))
    (local.set $bh (f64.sub (local.get $bh) (f64.sub (local.get $bh) (local.get $b))))
    (local.set $bl (f64.sub (local.get $b) (local.get $bh)))
    (local.get $p)
    (f64.add
      (f64.add
        (f64.add
          (f64.sub (f64.mul (local.get $ah) (local.get $bh)) (local.get $p))
          (f64.mul (local.get $ah) (local.get $bl)))
        (f64.mul (local.get $al) (local.get $bh)))
      (f64.mul (local.get $al) (local.get $bl))))
"""

ROUND_DIGITS = """
  ;; round(x, n); $ten is 10**n, exactly.
  (func $round_digits (param $x f64) (param $ten f64) (result f64) (local $hi f64) (local $lo f64) (local $k f64)
    (local $d f64)
    ;; Where a float is coarser than the digits asked for, the one nearest to the rounded number is x itself.
    (if (i32.eqz (f64.lt (f64.abs (f64.mul (local.get $x) (local.get $ten))) (f64.const 0x1p53)))
      (then (return (local.get $x))))
    ;; So small that the product might lose bits, it is far below a half.
    (if (f64.lt (f64.abs (local.get $x)) (f64.const 0x1p-200))
      (then (return (f64.copysign (f64.const 0) (local.get $x)))))
    (call $two_product (local.get $x) (local.get $ten))
    local.set $lo local.set $hi
    (local.set $k (f64.nearest (local.get $hi)))
    (local.set $d (f64.sub (local.get $hi) (local.get $k)))
    ;; x * 10**n is $k + $d + $lo. Only at a half can the rest change the choice.
    (if (i32.and (f64.eq (local.get $d) (f64.const 0.5)) (f64.gt (local.get $lo) (f64.const 0)))
      (then (local.set $k (f64.add (local.get $k) (f64.const 1)))))
    (if (i32.and (f64.eq (local.get $d) (f64.const -0.5)) (f64.lt (local.get $lo) (f64.const 0)))
      (then (local.set $k (f64.sub (local.get $k) (f64.const 1)))))
    (f64.copysign (f64.div (local.get $k) (local.get $ten)) (local.get $x)))
"""

ROUND_TENS = """
  ;; round(x, -n); $ten is 10**n, exactly.
  (func $round_tens (param $x f64) (param $ten f64) (result f64) (local $k f64) (local $hi f64) (local $lo f64)
    (local $rest f64) (local $half f64)
    (if (i32.eqz (f64.lt (f64.abs (f64.div (local.get $x) (local.get $ten))) (f64.const 0x1p53)))
      (then (return (local.get $x))))
    (local.set $k (f64.nearest (f64.div (local.get $x) (local.get $ten))))
    (call $two_product (local.get $k) (local.get $ten))
    local.set $lo local.set $hi
    ;; Next to the nearest multiple both differences are exact.
    (local.set $rest (f64.sub (f64.sub (local.get $x) (local.get $hi)) (local.get $lo)))
    (local.set $half (f64.mul (local.get $ten) (f64.const 0.5)))
    (if (i32.or (f64.gt (local.get $rest) (local.get $half))
          (i32.and (f64.eq (local.get $rest) (local.get $half)) (call $is_odd (local.get $k))))
      (then (local.set $k (f64.add (local.get $k) (f64.const 1)))))
    (if (i32.or (f64.lt (local.get $rest) (f64.neg (local.get $half)))
          (i32.and (f64.eq (local.get $rest) (f64.neg (local.get $half))) (call $is_odd (local.get $k))))
      (then (local.set $k (f64.sub (local.get $k) (f64.const 1)))))
    (f64.copysign (f64.mul (local.get $k) (local.get $ten)) (local.get $x)))
  (func $is_odd (param $k f64) (result i32)
    (i32.wrap_i64 (i64.and (i64.trunc_f64_s (local.get $k)) (i64.const 1))))
"""

ROUNDING = {
    "int_power": (POWER, ("product_overflows",)),
    "two_product": (TWO_PRODUCT, ()),
    "round_digits": (ROUND_DIGITS, ("two_product",)),
    "round_tens": (ROUND_TENS, ("two_product",)),
}
