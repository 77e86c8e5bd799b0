import { describe, expect, test } from "vitest";
import { bytes, clock, count, percent, shares, short, span } from "../src/format";
import { random } from "./graphs";

test.each([
  [0, "0"],
  [7, "7"],
  [3.14, "3.1"],
  [48.2, "48"],
  [12_340, "12,340"],
  [99_999, "99,999"],
  [123_456, "123k"],
  [999_600, "1.00M"],
  [4_560_000, "4.56M"],
  [2.5e9, "2.50G"],
  [-1_500, "−1,500"],
  [NaN, "–"],
  [Infinity, "–"],
])("count(%d) is %s", (value, text) => expect(count(value)).toBe(text));

test.each([
  [480, "480"],
  [999.7, "1.00k"],
  [1_024, "1.02k"],
  [12_340, "12.3k"],
  [NaN, "–"],
])("short(%d) is %s", (value, text) => expect(short(value)).toBe(text));

test("short numbers have five characters at most", () => {
  const next = random(3);
  for (let i = 0; i < 2_000; i++) expect(short(10 ** (next() * 14)).length).toBeLessThan(6);
});

test.each([
  [0, "0 ms"],
  [0.42, "0.4 ms"],
  [240, "240 ms"],
  [999.6, "1.0 s"],
  [1_240, "1.2 s"],
  [48_000, "48 s"],
  [59_990, "1.0 min"],
  [210_000, "3.5 min"],
  [7_560_000, "2.1 h"],
  [4 * 86_400_000, "4.0 d"],
  [-500, "−500 ms"],
  [NaN, "–"],
])("span(%d) is %s", (ms, text) => expect(span(ms)).toBe(text));

test.each([
  [7.9, "0:07"],
  [760, "12:40"],
  [3_723, "1:02:03"],
  [NaN, "–"],
])("clock(%d) is %s", (seconds, text) => expect(clock(seconds)).toBe(text));

test.each([
  [0, "0 B"],
  [640 * 1024, "640 KiB"],
  [12.3 * 2 ** 20, "12.3 MiB"],
  [1023 * 1024, "1.0 MiB"],
])("bytes(%d) is %s", (value, text) => expect(bytes(value)).toBe(text));

describe("shares", () => {
  test("they sum to a hundred, whatever the parts", () => {
    expect(shares([1 / 3, 1 / 3, 1 / 3])).toEqual([34, 33, 33]);
    expect(shares([0.995, 0.005, 0])).toEqual([100, 0, 0]);
    const next = random(9);
    for (let i = 0; i < 500; i++) {
      const parts = [next(), next(), next()];
      expect(shares(parts).reduce((a, b) => a + b)).toBe(100);
    }
  });

  test("what is not known stays so", () => {
    expect(shares([NaN, NaN, NaN])).toEqual([NaN, NaN, NaN]);
    expect(shares([0, 0, 0])).toEqual([NaN, NaN, NaN]);
    expect(percent(NaN)).toBe("–");
  });
});
