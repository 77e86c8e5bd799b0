// my_plugin: the numbers from 0 to the setting `count`, some at a time.
package main

import (
	"encoding/binary"
	"encoding/json"

	"guest/dataflare"
)

var settings = struct{ Count int64 }{10}
var next int64

//go:wasmexport plugin_init
func pluginInit(at, length uint32) int32 {
	return dataflare.Configured(at, length, func(text []byte) error { return json.Unmarshal(text, &settings) })
}

//go:wasmexport read_data
func readData() int32 {
	return dataflare.Read(func() ([]dataflare.Output, error) {
		rows := min(settings.Count-next, 1000)
		if rows <= 0 {
			return nil, nil
		}
		out := dataflare.Out[int64]("number", int(rows))
		for row := range out.Values {
			out.Values[row] = next
			next++
		}
		return []dataflare.Output{out}, nil
	})
}

//go:wasmexport df_offset
func offset() int32 { return dataflare.Bytes(binary.LittleEndian.AppendUint64(nil, uint64(next))) }

//go:wasmexport df_seek
func seek(at, length uint32) int32 {
	next = int64(binary.LittleEndian.Uint64(dataflare.Lent(at, length)))
	return 0
}

func main() {}
