//! my_plugin: the mean of a column. The state of a group is its sum and how many values it had.
use dataflare::*;

plugin! { aggregate: aggregate, merge: merge, finish: finish }

fn aggregate(batch: &Batch, groups: usize) -> Result<Answer> {
    add_up(batch, &batch.column::<f64>(0)?, None, groups)
}

fn merge(batch: &Batch, groups: usize) -> Result<Answer> {
    let counts = batch.column::<i64>("count")?;
    add_up(batch, &batch.column::<f64>("sum")?, Some(counts.values), groups)
}

/// Add up rows by their group; without `counts` each row counts once.
fn add_up(batch: &Batch, value: &Column<f64>, counts: Option<&[i64]>, groups: usize) -> Result<Answer> {
    let sum = Out::<f64>::with_rows("sum", groups)?;
    let count = Out::<i64>::with_rows("count", groups)?;
    for (row, &group) in batch.groups()?.iter().enumerate() {
        if let Some(is) = value.get(row) {
            sum.values[group as usize] += is;
            count.values[group as usize] += counts.map_or(1, |counts| counts[row]);
        }
    }
    answer(&[&sum, &count])
}

fn finish(batch: &Batch) -> Result<Answer> {
    let sum = batch.column::<f64>("sum")?;
    let count = batch.column::<i64>("count")?;
    let mut out = Out::<f64>::new("my_plugin", batch)?;
    for row in 0..batch.rows() {
        let n = count.values[row];
        out.put(row, (n > 0).then(|| sum.values[row] / n as f64))?;
    }
    answer(&[&out])
}
