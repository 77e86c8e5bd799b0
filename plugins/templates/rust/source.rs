//! my_plugin: the numbers from 0 to the setting `count`, some at a time.
use dataflare::*;

plugin! { init: configure, read: read, position: NEXT }

static NEXT: State<i64> = State::new(0);
static COUNT: Global<i64> = Global::new();

fn configure(config: &Config) -> Result<()> {
    COUNT.set(config.number("count").unwrap_or(10.0) as i64);
    Ok(())
}

fn read() -> Result<Option<Answer>> {
    let next = NEXT.get();
    let rows = (COUNT.get().unwrap_or(&10) - next).clamp(0, 1000);
    if rows == 0 {
        return Ok(None);
    }
    let out = Out::<i64>::with_rows("number", rows as usize)?;
    for (to, number) in out.values.iter_mut().zip(next..) {
        *to = number;
    }
    NEXT.set(next + rows);
    answer(&[&out]).map(Some)
}
