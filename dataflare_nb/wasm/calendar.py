"""Calendar arithmetic of the kernel: the proleptic Gregorian calendar of Python's `datetime`, in days since 1970."""

from __future__ import annotations

DAYS = """
  ;; The day of a time in microseconds.
  (func $days (param $us i64) (result i64) (local $d i64)
    (local.set $d (i64.div_s (local.get $us) (i64.const 86400000000)))
    (i64.sub (local.get $d) (i64.extend_i32_u
      (i64.lt_s (local.get $us) (i64.mul (local.get $d) (i64.const 86400000000))))))
"""

CLOCK = """
  ;; The microsecond of the day.
  (func $clock (param $us i64) (result i64)
    (i64.sub (local.get $us) (i64.mul (call $days (local.get $us)) (i64.const 86400000000))))
"""

CIVIL = """
  ;; Year, month and day. Years are counted from March, so that a leap day is the last of its year.
  (func $civil (param $days i64) (result i64 i64 i64)
    (local $era i64) (local $doe i64) (local $yoe i64) (local $doy i64) (local $mp i64) (local $m i64)
    (local.set $days (i64.add (local.get $days) (i64.const 719468)))
    (local.set $era (i64.div_s
      (select (local.get $days) (i64.sub (local.get $days) (i64.const 146096))
        (i64.ge_s (local.get $days) (i64.const 0)))
      (i64.const 146097)))
    (local.set $doe (i64.sub (local.get $days) (i64.mul (local.get $era) (i64.const 146097))))
    (local.set $yoe (i64.div_u
      (i64.sub
        (i64.add
          (i64.sub (local.get $doe) (i64.div_u (local.get $doe) (i64.const 1460)))
          (i64.div_u (local.get $doe) (i64.const 36524)))
        (i64.div_u (local.get $doe) (i64.const 146096)))
      (i64.const 365)))
    (local.set $doy (i64.sub (local.get $doe) (i64.sub
      (i64.add (i64.mul (i64.const 365) (local.get $yoe)) (i64.div_u (local.get $yoe) (i64.const 4)))
      (i64.div_u (local.get $yoe) (i64.const 100)))))
    (local.set $mp (i64.div_u
      (i64.add (i64.mul (i64.const 5) (local.get $doy)) (i64.const 2)) (i64.const 153)))
    (local.set $m (i64.add (local.get $mp)
      (select (i64.const 3) (i64.const -9) (i64.lt_u (local.get $mp) (i64.const 10)))))
    (i64.add
      (i64.add (local.get $yoe) (i64.mul (local.get $era) (i64.const 400)))
      (i64.extend_i32_u (i64.le_u (local.get $m) (i64.const 2))))
    (local.get $m)
    (i64.add (i64.const 1) (i64.sub (local.get $doy) (i64.div_u
      (i64.add (i64.mul (i64.const 153) (local.get $mp)) (i64.const 2)) (i64.const 5)))))
"""

YEAR = """
  (func $year (param $days i64) (result i64) (call $civil (local.get $days)) drop drop)
"""

MONTH = """
  (func $month (param $days i64) (result i64) (local $m i64)
    (call $civil (local.get $days)) drop local.set $m drop local.get $m)
"""

DAY = """
  (func $day (param $days i64) (result i64) (local $d i64)
    (call $civil (local.get $days)) local.set $d drop drop local.get $d)
"""

DATE = """
  ;; The day of a year, month and day, all of which exist.
  (func $date (param $y i64) (param $m i64) (param $d i64) (result i64) (local $era i64) (local $yoe i64)
    (local.set $y (i64.sub (local.get $y) (i64.extend_i32_u (i64.le_s (local.get $m) (i64.const 2)))))
    (local.set $era (i64.div_s (local.get $y) (i64.const 400)))
    (local.set $yoe (i64.sub (local.get $y) (i64.mul (local.get $era) (i64.const 400))))
    (i64.add
      (i64.add (i64.mul (local.get $era) (i64.const 146097)) (i64.const -719468))
      (i64.add
        (i64.sub
          (i64.add (i64.mul (local.get $yoe) (i64.const 365)) (i64.div_u (local.get $yoe) (i64.const 4)))
          (i64.div_u (local.get $yoe) (i64.const 100)))
        (i64.add
          (i64.div_u
            (i64.add
              (i64.mul (i64.const 153) (i64.add (local.get $m)
                (select (i64.const -3) (i64.const 9) (i64.gt_s (local.get $m) (i64.const 2)))))
              (i64.const 2))
            (i64.const 5))
          (i64.sub (local.get $d) (i64.const 1))))))
"""

MONTH_LENGTH = """
  (func $month_length (param $y i64) (param $m i64) (result i64)
    (if (i64.ne (local.get $m) (i64.const 2)) (then
      ;; Months of 31 and 30 days take turns, with one break in summer.
      (return (i64.add (i64.const 30) (i64.and (i64.const 1)
        (i64.add (local.get $m) (i64.shr_u (local.get $m) (i64.const 3))))))))
    (i64.add (i64.const 28) (i64.extend_i32_u (i32.and
      (i64.eqz (i64.rem_s (local.get $y) (i64.const 4)))
      (i32.or
        (i64.ne (i64.rem_s (local.get $y) (i64.const 100)) (i64.const 0))
        (i64.eqz (i64.rem_s (local.get $y) (i64.const 400))))))))
"""

WEEKDAY = """
  ;; Monday is 0. The first of January 1970 was a Thursday.
  (func $weekday (param $days i64) (result i64)
    (i64.rem_u (i64.add (local.get $days) (i64.const 719162)) (i64.const 7)))
"""

ISO = """
  ;; Year, week and day of the ISO calendar: a week belongs to the year that has its Thursday.
  (func $iso (param $days i64) (result i64 i64 i64) (local $thursday i64) (local $y i64)
    (local.set $thursday (i64.add (local.get $days) (i64.sub (i64.const 3) (call $weekday (local.get $days)))))
    (local.set $y (call $year (local.get $thursday)))
    (local.get $y)
    (i64.add (i64.const 1) (i64.div_u
      (i64.sub (local.get $thursday) (call $date (local.get $y) (i64.const 1) (i64.const 1))) (i64.const 7)))
    (i64.add (i64.const 1) (call $weekday (local.get $days))))
"""

DIVIDE_NEAREST = """
  ;; int / int to the nearest int, to the even one of two. The divisor is not zero and the quotient fits.
  (func $divide_nearest (param $a i64) (param $b i64) (result i64) (local $q i64) (local $r i64) (local $rest i64)
    (local.set $q (i64.div_s (local.get $a) (local.get $b)))
    (local.set $r (i64.sub (local.get $a) (i64.mul (local.get $q) (local.get $b))))
    (if (i64.eqz (local.get $r)) (then (return (local.get $q))))
    ;; Compare |r| with |b| - |r|, which cannot overflow.
    (if (i64.lt_s (local.get $r) (i64.const 0)) (then (local.set $r (i64.sub (i64.const 0) (local.get $r)))))
    (local.set $rest (select (local.get $b) (i64.sub (i64.const 0) (local.get $b))
      (i64.lt_s (local.get $b) (i64.const 0))))
    (local.set $rest (i64.sub (i64.const 0) (i64.add (local.get $rest) (local.get $r))))
    (if (i32.or (i64.gt_u (local.get $r) (local.get $rest))
          (i32.and (i64.eq (local.get $r) (local.get $rest)) (i32.wrap_i64 (i64.and (local.get $q) (i64.const 1)))))
      (then (local.set $q (i64.add (local.get $q)
        (select (i64.const -1) (i64.const 1) (i64.lt_s (i64.xor (local.get $a) (local.get $b)) (i64.const 0)))))))
    (local.get $q))
"""

CALENDAR = {
    "days": (DAYS, ()),
    "clock": (CLOCK, ("days",)),
    "civil": (CIVIL, ()),
    "year": (YEAR, ("civil",)),
    "month": (MONTH, ("civil",)),
    "day": (DAY, ("civil",)),
    "date": (DATE, ()),
    "month_length": (MONTH_LENGTH, ()),
    "weekday": (WEEKDAY, ()),
    "iso": (ISO, ("weekday", "year", "date", "civil")),
    "divide_nearest": (DIVIDE_NEAREST, ()),
}
