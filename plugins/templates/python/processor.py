"""my_plugin: twice what the column `value` is."""

import dataflare_nb as flare


@flare.udf
def my_plugin(value: float) -> float:
    return 2.0 * value
