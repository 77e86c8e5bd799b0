//! my_plugin: what the column `value` is, times the setting `factor`.
use dataflare::*;

plugin! { init: configure, process: process }

static FACTOR: Global<f64> = Global::new();

fn configure(config: &Config) -> Result<()> {
    FACTOR.set(config.number("factor").unwrap_or(2.0));
    Ok(())
}

fn process(batch: &Batch) -> Result<Answer> {
    let factor = FACTOR.get().unwrap_or(&2.0);
    let value = batch.column::<f64>("value")?;
    let out = Out::<f64>::like("my_plugin", &value)?;
    for (to, from) in out.values.iter_mut().zip(value.values) {
        *to = from * factor;
    }
    answer(&[&out])
}
