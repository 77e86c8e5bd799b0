//! my_plugin: the rows whose column `value` is not null, and nothing but it.
use dataflare::*;

plugin! { transform: transform }

fn transform(batch: &Batch) -> Result<Answer> {
    let value = batch.column::<f64>("value")?;
    let kept: Vec<f64> = (0..batch.rows()).filter_map(|row| value.get(row)).collect();
    let out = Out::<f64>::with_rows("value", kept.len())?;
    out.values.copy_from_slice(&kept);
    answer(&[&out])
}
