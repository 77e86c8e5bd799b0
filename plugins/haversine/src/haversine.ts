// haversine: the distance between two places on a sphere, along it.
//
// R. W. Sinnott, "Virtues of the Haversine", Sky and Telescope 68 (1984). The radius is the mean radius of the Earth, R1 of
// IUGG (H. Moritz, Geodetic Reference System 1980), so what is found differs from the ellipsoid's by up to half a percent.
import * as df from "./dataflare";

const RADIUS_KM = 6371.0088;
const TO_RADIANS = Math.PI / 180;

let name = "distance";
let per_radian = RADIUS_KM;
let fixed = false;
let fixed_lat = 0.0, fixed_lon = 0.0;

export function plugin_init(at: usize, length: u32): i32 {
  const config = new df.Config(at, length);
  name = config.text("column", name);
  const unit = config.text("unit", "km");
  if (unit == "km") per_radian = RADIUS_KM;
  else if (unit == "m") per_radian = RADIUS_KM * 1000;
  else if (unit == "mi") per_radian = RADIUS_KM / 1.609344;
  else if (unit == "nmi") per_radian = RADIUS_KM / 1.852;
  else return df.fail(df.E_CONFIG, "unit may be km, m, mi and nmi");
  const there = config.numbers("to");
  if (there.length != 0) {
    if (there.length != 2 || !is_place(there[0], there[1])) return df.fail(df.E_CONFIG, "`to` is like [52.5, 13.4], latitude first");
    fixed = true;
    fixed_lat = there[0];
    fixed_lon = there[1];
  }
  return 0;
}

export function process_data(at: usize, length: u32): i32 {
  const batch = new df.Batch(at);
  const lat = batch.nth<f64>(0), lon = batch.nth<f64>(1);
  const to_lat = fixed ? lat : batch.nth<f64>(2), to_lon = fixed ? lon : batch.nth<f64>(3);
  if (lat == null || lon == null || to_lat == null || to_lon == null) return df.failed();
  const out = df.Out.of<f64>(name, batch.rows);
  if (out == null) return df.failed();
  for (let row = 0; row < batch.rows; row++) {
    const here = lat.isValid(row) && lon.isValid(row) && is_place(lat.at(row), lon.at(row));
    const lat2 = fixed ? fixed_lat : to_lat.at(row), lon2 = fixed ? fixed_lon : to_lon.at(row);
    const there = fixed || (to_lat.isValid(row) && to_lon.isValid(row) && is_place(lat2, lon2));
    if (here && there) out.set(row, per_radian * angle(lat.at(row), lon.at(row), lat2, lon2));
    else if (!out.setNull(row)) return df.failed();
  }
  return df.answer([out]);
}

function is_place(lat: f64, lon: f64): bool {
  return Math.abs(lat) <= 90 && Math.abs(lon) <= 180;
}

function angle(lat1: f64, lon1: f64, lat2: f64, lon2: f64): f64 {
  const up = Math.sin((lat2 - lat1) * TO_RADIANS / 2), over = Math.sin((lon2 - lon1) * TO_RADIANS / 2);
  const h = up * up + Math.cos(lat1 * TO_RADIANS) * Math.cos(lat2 * TO_RADIANS) * over * over;
  return 2 * Math.asin(Math.sqrt(Math.min(1, h)));
}
