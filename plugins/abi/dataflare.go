// Package dataflare: write a dfx/1 plugin in Go, 1.24 or later.
//
//	package main
//
//	import "guest/dataflare"
//
//	//go:wasmexport process_data
//	func processData(at, _ uint32) int32 {
//		return dataflare.Answered(at, func(batch *dataflare.Batch) ([]dataflare.Output, error) {
//			price, err := dataflare.Column[float64](batch, "price")
//			if err != nil {
//				return nil, err
//			}
//			out := dataflare.Like[float64]("with_tax", price)
//			for row, value := range price.Values {
//				out.Values[row] = value * 1.2
//			}
//			return []dataflare.Output{out}, nil
//		})
//	}
//
//	func main() {}
//
// A plugin exports the work of its type by the names of the ABI with //go:wasmexport: process_data, transform_data,
// filter_data, write_data (with Written), read_data (with Read), aggregate_data and df_merge and df_final (with Answered;
// Groups says which group a row belongs to), plugin_init (with Configured). The rest of the exports is here.
//
// Go has a runtime of its own, so a plugin is 1.4 MB or more, starts in milliseconds and needs WASI preview 1 for the
// clock and the log. A panic ends the guest.
package dataflare

import (
	"encoding/binary"
	"unsafe"
)

// ---- what the host offers; a call costs about 10 us: never one per row ----

//go:wasmimport dataflare host_log
func hostLog(level int32, text unsafe.Pointer, length uint32)

//go:wasmimport dataflare host_get_time
func hostGetTime() int64

//go:wasmimport dataflare host_random
func hostRandom() float64

//go:wasmimport dataflare host_counter
func hostCounter(name unsafe.Pointer, length uint32, by int64)

// Levels of Log.
const (
	Debug int32 = iota
	Info
	Warning
	Failure
)

// Log writes to the host's log.
func Log(level int32, text string) {
	hostLog(level, unsafe.Pointer(unsafe.StringData(text)), uint32(len(text)))
}

// Now is in microseconds since the epoch, UTC.
func Now() int64 { return hostGetTime() }

// Random is in [0, 1).
func Random() float64 { return hostRandom() }

// Count adds to a counter that the dashboard shows.
func Count(name string, by int64) {
	hostCounter(unsafe.Pointer(unsafe.StringData(name)), uint32(len(name)), by)
}

// ---- memory: the host's buffers and the answer live until the next call ----

var kept [][]uint64

func take(bytes int) (address uintptr, memory []byte) {
	words := make([]uint64, (bytes+63+16)/8+1)
	kept = append(kept, words)
	first := uintptr(unsafe.Pointer(&words[0]))
	shift := (64 - first&63) & 63
	return first + shift, unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), len(words)*8)[shift:][:bytes]
}

//go:wasmexport df_alloc
func dfAlloc(bytes uint32) uint32 {
	address, _ := take(int(bytes))
	return uint32(address)
}

//go:wasmexport df_reset
func dfReset() {
	kept = kept[:0:cap(kept)]
	clear(kept[:cap(kept)])
}

//go:wasmexport df_abi_version
func dfABIVersion() int32 { return 1 }

//go:wasmexport df_formats
func dfFormats() int32 { return 4 }

// ---- errors ----

// Codes of errors. OwnError and below are the plugin's own.
const (
	ConfigError      int32 = -1
	InputError       int32 = -2
	TypeError        int32 = -3
	MemoryError      int32 = -4
	InternalError    int32 = -5
	UnsupportedError int32 = -6
	OwnError         int32 = -1000
)

// Error has a code; any other error is an InternalError.
type Error struct {
	Code int32
	Text string
}

func (e *Error) Error() string { return e.Text }

// Fail returns an error with a code.
func Fail(code int32, text string) error { return &Error{code, text} }

var lastText string
var lastSlice [4]uint32

func code(err error) int32 {
	if err == nil {
		return 0
	}
	lastText = err.Error()
	lastSlice = [4]uint32{uint32(uintptr(unsafe.Pointer(unsafe.StringData(lastText)))), uint32(len(lastText))}
	if own, ok := err.(*Error); ok {
		return own.Code
	}
	return InternalError
}

//go:wasmexport df_last_error
func dfLastError() uint32 { return uint32(uintptr(unsafe.Pointer(&lastSlice))) }

// ---- reading: the Arrow C Data Interface with 32-bit pointers ----

func at32(address uint32) uint32 { return *(*uint32)(pointer(address)) }
func at64(address uint32) int64  { return *(*int64)(pointer(address)) }

// pointer makes a pointer of what the host wrote into memory that df_alloc keeps.
func pointer(address uint32) unsafe.Pointer {
	number := uintptr(address)
	return *(*unsafe.Pointer)(unsafe.Pointer(&number))
}

func textAt(address uint32) string {
	length := 0
	for *(*byte)(unsafe.Add(pointer(address), length)) != 0 {
		length++
	}
	return string(unsafe.Slice((*byte)(pointer(address)), length))
}

// Batch is what the host hands over.
type Batch struct {
	// Rows is how many rows there are, Names what the columns are called.
	Rows    int
	Names   []string
	Formats []string
	arrays  []uint32
}

func batchAt(address uint32) *Batch {
	schema, array := at32(address), at32(address+4)
	batch := &Batch{Rows: int(at64(array))}
	for i := range uint32(at64(schema + 24)) {
		child := at32(at32(schema+32) + 4*i)
		batch.Formats = append(batch.Formats, textAt(at32(child)))
		batch.Names = append(batch.Names, textAt(at32(child+4)))
		batch.arrays = append(batch.arrays, at32(at32(array+44)+4*i))
	}
	return batch
}

// Place is the name of a column, or its place counted from 0.
type Place interface{ ~string | ~int }

func find[P Place](batch *Batch, place P, takes func(format string) bool, told string) (uint32, error) {
	index := -1
	switch wanted := any(place).(type) {
	case int:
		index = wanted
		if index >= len(batch.Names) {
			return 0, Fail(InputError, "there are too few columns")
		}
	case string:
		for i, name := range batch.Names {
			if name == wanted {
				index = i
			}
		}
		if index < 0 {
			return 0, Fail(InputError, "there is no column "+wanted)
		}
	}
	if !takes(batch.Formats[index]) {
		text := "column " + batch.Names[index] + " has the Arrow format " + batch.Formats[index] + " and must be " + told
		return 0, Fail(TypeError, text)
	}
	return batch.arrays[index], nil
}

// Nulls says which rows are null.
type Nulls struct {
	bits  []byte
	count int64
	rows  int
}

func nullsOf(array uint32, rows int) Nulls {
	found := Nulls{count: at64(array + 8), rows: rows}
	if bits := at32(at32(array + 40)); bits != 0 {
		found.bits = unsafe.Slice((*byte)(pointer(bits)), (rows+7)/8)
	}
	return found
}

// IsValid tells whether a row is not null.
func (n Nulls) IsValid(row int) bool {
	return n.bits == nil || n.bits[row>>3]>>(row&7)&1 != 0
}

func (n Nulls) nulls() Nulls { return n }

// Known is a column that was read.
type Known interface{ nulls() Nulls }

// Number is what a column of numbers holds.
type Number interface {
	int8 | uint8 | int16 | uint16 | int32 | uint32 | int64 | uint64 | float32 | float64
}

// Numbers is a column of numbers.
type Numbers[T Number] struct {
	Nulls
	Values []T
}

// Column finds a column of numbers; dates and times are the integers they are made of.
func Column[T Number, P Place](batch *Batch, place P) (Numbers[T], error) {
	var zero T
	array, err := find(batch, place, func(format string) bool { return takes(zero, format) }, "a number with the format "+formatOf(zero))
	if err != nil {
		return Numbers[T]{}, err
	}
	values := at32(at32(array+40) + 4)
	column := Numbers[T]{Nulls: nullsOf(array, batch.Rows)}
	if values != 0 {
		column.Values = unsafe.Slice((*T)(pointer(values)), batch.Rows)
	}
	return column, nil
}

func formatOf(value any) string {
	switch value.(type) {
	case int8:
		return "c"
	case uint8:
		return "C"
	case int16:
		return "s"
	case uint16:
		return "S"
	case int32:
		return "i"
	case uint32:
		return "I"
	case int64:
		return "l"
	case uint64:
		return "L"
	case float32:
		return "f"
	default:
		return "g"
	}
}

func takes(zero any, format string) bool {
	switch zero.(type) {
	case int32:
		return format == "i" || format == "tdD"
	case int64:
		return format == "l" || format[0] == 't' && format[1] != 'd'
	}
	return format == formatOf(zero)
}

// Text is a column of text, or of bytes.
type Text struct {
	Nulls
	ends  []int64
	bytes unsafe.Pointer
}

// TextColumn finds a column of text.
func TextColumn[P Place](batch *Batch, place P) (Text, error) {
	return bytesLike(batch, place, "U", "text")
}

// BinaryColumn finds a column of bytes.
func BinaryColumn[P Place](batch *Batch, place P) (Text, error) {
	return bytesLike(batch, place, "Z", "binary")
}

func bytesLike[P Place](batch *Batch, place P, format, told string) (Text, error) {
	array, err := find(batch, place, func(found string) bool { return found == format }, told)
	if err != nil {
		return Text{}, err
	}
	buffers := at32(array + 40)
	ends := unsafe.Slice((*int64)(pointer(at32(buffers+4))), batch.Rows+1)
	return Text{nullsOf(array, batch.Rows), ends, pointer(at32(buffers + 8))}, nil
}

// Bytes are those of a row; they are the host's, and gone at the next call.
func (t Text) Bytes(row int) []byte {
	return unsafe.Slice((*byte)(unsafe.Add(t.bytes, t.ends[row])), t.ends[row+1]-t.ends[row])
}

// Get returns the text of a row, to keep.
func (t Text) Get(row int) string { return string(t.Bytes(row)) }

// Flags is a column of Booleans.
type Flags struct {
	Nulls
	bits []byte
}

// FlagColumn finds a column of Booleans.
func FlagColumn[P Place](batch *Batch, place P) (Flags, error) {
	array, err := find(batch, place, func(format string) bool { return format == "b" }, "Boolean")
	if err != nil {
		return Flags{}, err
	}
	bits := unsafe.Slice((*byte)(pointer(at32(at32(array+40)+4))), (batch.Rows+7)/8)
	return Flags{nullsOf(array, batch.Rows), bits}, nil
}

// Get returns the value of a row.
func (f Flags) Get(row int) bool { return f.bits[row>>3]>>(row&7)&1 != 0 }

// Groups says which group each row belongs to, for an Aggregator.
func Groups(batch *Batch) []uint32 {
	groups, _ := Column[uint32](batch, len(batch.Names)-1)
	return groups.Values
}

// ---- answering ----

// Output is a column to return.
type Output interface{ parts() parts }

type parts struct {
	name, format string
	rows         int
	nulls        int64
	buffers      [][]byte
}

type validity struct {
	bits  []byte
	count int64
}

// SetNull makes a row null, once.
func (v *validity) setNull(row, rows int) {
	if v.bits == nil {
		v.bits = make([]byte, (rows+7)/8)
		for i := range v.bits {
			v.bits[i] = 0xff
		}
	}
	v.bits[row>>3] &^= 1 << (row & 7)
	v.count++
}

// OutNumbers is a column of numbers to return: fill Values.
type OutNumbers[T Number] struct {
	Values []T
	// Format may be set to that of a date or time.
	Format string
	name   string
	valid  validity
}

// Out makes a column of zeros.
func Out[T Number](name string, rows int) *OutNumbers[T] {
	var zero T
	return &OutNumbers[T]{Values: make([]T, rows), Format: formatOf(zero), name: name}
}

// Like makes a column as long as another, and null where it is.
func Like[T Number](name string, column Known) *OutNumbers[T] {
	nulls := column.nulls()
	out := Out[T](name, nulls.rows)
	if nulls.count > 0 {
		out.valid = validity{nulls.bits, nulls.count}
	}
	return out
}

// SetNull makes a row null, once, in a column made by Out.
func (o *OutNumbers[T]) SetNull(row int) { o.valid.setNull(row, len(o.Values)) }

func (o *OutNumbers[T]) parts() parts {
	var zero T
	size := len(o.Values) * int(unsafe.Sizeof(zero))
	values := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(o.Values))), size)
	return parts{o.name, o.Format, len(o.Values), o.valid.count, [][]byte{o.valid.bits, values}}
}

// OutFlags is a column of Booleans to return.
type OutFlags struct {
	name  string
	rows  int
	bits  []byte
	valid validity
}

// FlagsOut makes a column of false.
func FlagsOut(name string, rows int) *OutFlags {
	return &OutFlags{name: name, rows: rows, bits: make([]byte, (rows+7)/8)}
}

// Set makes a row true.
func (o *OutFlags) Set(row int) { o.bits[row>>3] |= 1 << (row & 7) }

// SetNull makes a row null, once.
func (o *OutFlags) SetNull(row int) { o.valid.setNull(row, o.rows) }

func (o *OutFlags) parts() parts {
	return parts{o.name, "b", o.rows, o.valid.count, [][]byte{o.valid.bits, o.bits}}
}

// OutText is a column of text to return; append rows in order.
type OutText struct {
	name, format string
	ends         []uint32
	bytes        []byte
	valid        validity
	rows         int
}

// TextOut makes a column that is to have so many rows.
func TextOut(name string, rows int) *OutText {
	return &OutText{name: name, format: "u", ends: make([]uint32, 1, rows+1), rows: rows}
}

// BinaryOut makes a column of bytes.
func BinaryOut(name string, rows int) *OutText {
	out := TextOut(name, rows)
	out.format = "z"
	return out
}

// Append adds the text of the next row.
func (o *OutText) Append(text string) {
	o.bytes = append(o.bytes, text...)
	o.ends = append(o.ends, uint32(len(o.bytes)))
}

// AppendBytes does the same for bytes.
func (o *OutText) AppendBytes(bytes []byte) {
	o.bytes = append(o.bytes, bytes...)
	o.ends = append(o.ends, uint32(len(o.bytes)))
}

// AppendNull makes the next row null.
func (o *OutText) AppendNull() {
	o.valid.setNull(len(o.ends)-1, o.rows)
	o.ends = append(o.ends, uint32(len(o.bytes)))
}

func (o *OutText) parts() parts {
	ends := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(o.ends))), 4*len(o.ends))
	return parts{o.name, o.format, len(o.ends) - 1, o.valid.count, [][]byte{o.valid.bits, ends, o.bytes}}
}

// Answered hands a batch to the work of a plugin and its answer to the host.
func Answered(at uint32, work func(batch *Batch) ([]Output, error)) int32 {
	outs, err := work(batchAt(at))
	if err != nil {
		return code(err)
	}
	return answer(outs)
}

// Written hands a batch to the work of a Destination.
func Written(at uint32, work func(batch *Batch) error) int32 { return code(work(batchAt(at))) }

// Read answers with what a Source reads; nothing is the end.
func Read(work func() ([]Output, error)) int32 {
	outs, err := work()
	if err != nil || outs == nil {
		return code(err)
	}
	return answer(outs)
}

// Configured hands the config, JSON, to the work of plugin_init: for json.Unmarshal.
func Configured(at, length uint32, work func(json []byte) error) int32 {
	err := work(append([]byte(nil), unsafe.Slice((*byte)(pointer(at)), length)...))
	if _, own := err.(*Error); err != nil && !own {
		err = Fail(ConfigError, err.Error())
	}
	return code(err)
}

// Lent are bytes that the host hands over: the position of df_seek, the token of df_commit.
func Lent(at, length uint32) []byte { return unsafe.Slice((*byte)(pointer(at)), length) }

// Bytes answers with bytes: for df_offset and df_prepare.
func Bytes(bytes []byte) int32 {
	data, memory := take(len(bytes))
	copy(memory, bytes)
	return slice(uint32(data), uint32(len(bytes)), 0)
}

func slice(at, length, format uint32) int32 {
	address, memory := take(16)
	for i, word := range []uint32{at, length, format, 0} {
		binary.LittleEndian.PutUint32(memory[4*i:], word)
	}
	return int32(address)
}

func answer(outs []Output) int32 {
	width := len(outs)
	schemas, schemaBytes := take(48*(width+1) + 4*width)
	arrays, arrayBytes := take(64*(width+1) + 4*width + 4 + 12*width)
	put32 := func(memory []byte, at int, value uintptr) { binary.LittleEndian.PutUint32(memory[at:], uint32(value)) }
	put64 := func(memory []byte, at int, value int64) { binary.LittleEndian.PutUint64(memory[at:], uint64(value)) }
	schemaList, arrayList := 48*(width+1), 64*(width+1)
	buffers := arrayList + 4*width
	rows := 0
	for i, out := range outs {
		found := out.parts()
		rows = found.rows
		schema, array, list := 48*(i+1), 64*(i+1), buffers+4+12*i
		put32(schemaBytes, schema, terminated(found.format))
		put32(schemaBytes, schema+4, terminated(found.name))
		put64(schemaBytes, schema+16, 2)
		put32(schemaBytes, schemaList+4*i, schemas+uintptr(schema))
		for j, buffer := range found.buffers {
			if j > 0 || found.nulls > 0 {
				data, memory := take(len(buffer))
				copy(memory, buffer)
				put32(arrayBytes, list+4*j, data)
			}
		}
		put64(arrayBytes, array, int64(found.rows))
		put64(arrayBytes, array+8, found.nulls)
		put64(arrayBytes, array+24, int64(len(found.buffers)))
		put32(arrayBytes, array+40, arrays+uintptr(list))
		put32(arrayBytes, arrayList+4*i, arrays+uintptr(array))
	}
	put32(schemaBytes, 0, terminated("+s"))
	put32(schemaBytes, 4, terminated(""))
	put64(schemaBytes, 24, int64(width))
	put32(schemaBytes, 32, schemas+uintptr(schemaList))
	put64(arrayBytes, 0, int64(rows))
	put64(arrayBytes, 24, 1)
	put64(arrayBytes, 32, int64(width))
	put32(arrayBytes, 40, arrays+uintptr(buffers))
	put32(arrayBytes, 44, arrays+uintptr(arrayList))
	batch, memory := take(8)
	put32(memory, 0, schemas)
	put32(memory, 4, arrays)
	return slice(uint32(batch), 8, 3)
}

func terminated(text string) uintptr {
	address, memory := take(len(text) + 1)
	copy(memory, text)
	return address
}
