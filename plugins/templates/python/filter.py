"""my_plugin: keep the rows whose column `value` is not negative."""

import dataflare_nb as flare


@flare.udf
def my_plugin(value: float) -> bool:
    return value >= 0.0
