//! my_plugin: count what comes, and tell the sum at each commit.
use dataflare::*;

plugin! { write: write, prepare: prepare, commit: commit }

static SUM: State<f64> = State::new(0.0);

fn write(batch: &Batch) -> Result<()> {
    let value = batch.column::<f64>("value")?;
    let sum: f64 = (0..batch.rows()).filter_map(|row| value.get(row)).sum();
    SUM.set(SUM.get() + sum);
    count("rows", batch.rows() as i64);
    Ok(())
}

fn prepare(_epoch: i64) -> Result<&'static [u8]> {
    kept(&SUM.get().to_le_bytes())
}

fn commit(_epoch: i64, _token: &[u8]) -> Result<()> {
    log(INFO, "committed");
    Ok(())
}
