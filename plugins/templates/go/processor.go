// my_plugin: what the column `value` is, times the setting `factor`.
package main

import (
	"encoding/json"

	"guest/dataflare"
)

var settings = struct{ Factor float64 }{2}

//go:wasmexport plugin_init
func pluginInit(at, length uint32) int32 {
	return dataflare.Configured(at, length, func(text []byte) error { return json.Unmarshal(text, &settings) })
}

//go:wasmexport process_data
func processData(at, _ uint32) int32 {
	return dataflare.Answered(at, func(batch *dataflare.Batch) ([]dataflare.Output, error) {
		value, err := dataflare.Column[float64](batch, "value")
		if err != nil {
			return nil, err
		}
		out := dataflare.Like[float64]("my_plugin", value)
		for row, is := range value.Values {
			out.Values[row] = is * settings.Factor
		}
		return []dataflare.Output{out}, nil
	})
}

func main() {}
