// my_plugin: the mean of a column. The state of a group is its sum and how many values it had.
package main

import "guest/dataflare"

var groups int

//go:wasmexport df_groups
func setGroups(count uint32) { groups = int(count) }

//go:wasmexport aggregate_data
func aggregateData(at, _ uint32) int32 {
	return dataflare.Answered(at, func(batch *dataflare.Batch) ([]dataflare.Output, error) {
		value, err := dataflare.Column[float64](batch, 0)
		if err != nil {
			return nil, err
		}
		return addUp(batch, value, nil), nil
	})
}

//go:wasmexport df_merge
func merge(at, _ uint32) int32 {
	return dataflare.Answered(at, func(batch *dataflare.Batch) ([]dataflare.Output, error) {
		sum, err := dataflare.Column[float64](batch, "sum")
		if err != nil {
			return nil, err
		}
		count, err := dataflare.Column[int64](batch, "count")
		return addUp(batch, sum, count.Values), err
	})
}

// addUp adds up rows by their group; without counts each row counts once.
func addUp(batch *dataflare.Batch, value dataflare.Numbers[float64], counts []int64) []dataflare.Output {
	sum, count := dataflare.Out[float64]("sum", groups), dataflare.Out[int64]("count", groups)
	for row, group := range dataflare.Groups(batch) {
		if !value.IsValid(row) {
			continue
		}
		sum.Values[group] += value.Values[row]
		if counts == nil {
			count.Values[group]++
		} else {
			count.Values[group] += counts[row]
		}
	}
	return []dataflare.Output{sum, count}
}

//go:wasmexport df_final
func final(at, _ uint32) int32 {
	return dataflare.Answered(at, func(batch *dataflare.Batch) ([]dataflare.Output, error) {
		sum, err := dataflare.Column[float64](batch, "sum")
		if err != nil {
			return nil, err
		}
		count, err := dataflare.Column[int64](batch, "count")
		if err != nil {
			return nil, err
		}
		out := dataflare.Out[float64]("my_plugin", batch.Rows)
		for row, n := range count.Values {
			if n > 0 {
				out.Values[row] = sum.Values[row] / float64(n)
			} else {
				out.SetNull(row)
			}
		}
		return []dataflare.Output{out}, nil
	})
}

func main() {}
