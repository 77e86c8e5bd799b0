// my_plugin: count what comes, and tell the sum at each commit.
package main

import (
	"encoding/binary"
	"math"

	"guest/dataflare"
)

var sum float64

//go:wasmexport write_data
func writeData(at, _ uint32) int32 {
	return dataflare.Written(at, func(batch *dataflare.Batch) error {
		value, err := dataflare.Column[float64](batch, "value")
		if err != nil {
			return err
		}
		for row, is := range value.Values {
			if value.IsValid(row) {
				sum += is
			}
		}
		dataflare.Count("rows", int64(batch.Rows))
		return nil
	})
}

//go:wasmexport df_prepare
func prepare(epoch int64) int32 {
	return dataflare.Bytes(binary.LittleEndian.AppendUint64(nil, math.Float64bits(sum)))
}

//go:wasmexport df_commit
func commit(epoch int64, at, length uint32) int32 {
	dataflare.Log(dataflare.Info, "committed")
	return 0
}

func main() {}
