// my_plugin: the rows whose column `value` is not null, and nothing but it.
package main

import "guest/dataflare"

//go:wasmexport transform_data
func transformData(at, _ uint32) int32 {
	return dataflare.Answered(at, func(batch *dataflare.Batch) ([]dataflare.Output, error) {
		value, err := dataflare.Column[float64](batch, "value")
		if err != nil {
			return nil, err
		}
		out := dataflare.Out[float64]("value", 0)
		for row, is := range value.Values {
			if value.IsValid(row) {
				out.Values = append(out.Values, is)
			}
		}
		return []dataflare.Output{out}, nil
	})
}

func main() {}
