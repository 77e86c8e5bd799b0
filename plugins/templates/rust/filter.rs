//! my_plugin: keep the rows whose column `value` is at least the setting `least`.
use dataflare::*;

plugin! { init: configure, filter: filter }

static LEAST: Global<f64> = Global::new();

fn configure(config: &Config) -> Result<()> {
    LEAST.set(config.number("least").unwrap_or(0.0));
    Ok(())
}

fn filter(batch: &Batch) -> Result<Answer> {
    let least = *LEAST.get().unwrap_or(&0.0);
    let value = batch.column::<f64>("value")?;
    let mut keep = FlagsOut::new("keep", batch)?;
    for row in 0..batch.rows() {
        keep.put(row, Some(value.get(row).map_or(false, |is| is >= least)))?;
    }
    answer(&[&keep])
}
