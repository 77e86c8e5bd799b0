// my_plugin: keep the rows whose column `value` is at least the setting `least`.
package main

import (
	"encoding/json"

	"guest/dataflare"
)

var settings struct{ Least float64 }

//go:wasmexport plugin_init
func pluginInit(at, length uint32) int32 {
	return dataflare.Configured(at, length, func(text []byte) error { return json.Unmarshal(text, &settings) })
}

//go:wasmexport filter_data
func filterData(at, _ uint32) int32 {
	return dataflare.Answered(at, func(batch *dataflare.Batch) ([]dataflare.Output, error) {
		value, err := dataflare.Column[float64](batch, "value")
		if err != nil {
			return nil, err
		}
		keep := dataflare.FlagsOut("keep", batch.Rows)
		for row, is := range value.Values {
			if value.IsValid(row) && is >= settings.Least {
				keep.Set(row)
			}
		}
		return []dataflare.Output{keep}, nil
	})
}

func main() {}
