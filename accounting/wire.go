package accounting

import (
	"errors"
	"fmt"
	"math"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// message is a StreamAccessLogsMessage of which only the HTTP entries are taken,
// each still on the wire. The control server's codec lets it read itself:
// decoding whole entries into objects costs several times as much as settling
// them, and one text that is not UTF-8, from a provider's answer, would make
// the generated decoder refuse the batch and end the stream.
type message struct {
	entries [][]byte
	buf     mem.Buffer
}

// Field numbers of envoy.service.accesslog.v3 and envoy.data.accesslog.v3.
const (
	messageHTTP  = 2
	messageTCP   = 3
	entriesEntry = 1

	entryCommon   = 1
	entryRequest  = 3
	entryResponse = 4

	commonStart        = 5
	commonFirstTx      = 7
	commonCluster      = 15
	commonFlags        = 16
	commonMetadata     = 17
	commonRoute        = 19
	commonDuration     = 23
	commonAttempts     = 24
	commonIntermediate = 27
	commonType         = 33

	requestID        = 9
	requestBodyBytes = 12

	responseCode      = 1
	responseBodyBytes = 3
	responseHeaders   = 4
	responseDetails   = 6

	metadataFilter = 1
	structFields   = 1
	valueNumber    = 2
	valueString    = 3
	valueBool      = 4
	valueStruct    = 5
	valueList      = 6
	valueNull      = 1
	mapKey         = 1
	mapValue       = 2
)

// ReadWire takes the entries of a message. They are valid until release.
func (m *message) ReadWire(data mem.BufferSlice) error {
	m.buf = data.MaterializeToBuffer(mem.DefaultBufferPool())
	return eachField(m.buf.ReadOnlyData(), func(f field) error {
		switch {
		case f.typ != protowire.BytesType:
		case f.num == messageTCP: // of a choice, the last one stands
			m.entries = m.entries[:0]
		case f.num == messageHTTP:
			return eachField(f.bytes, func(f field) error {
				if f.num == entriesEntry && f.typ == protowire.BytesType {
					m.entries = append(m.entries, f.bytes)
				}
				return nil
			})
		}
		return nil
	})
}

func (m *message) release() {
	if m.buf != nil {
		m.buf.Free()
	}
	clear(m.entries)
	m.entries, m.buf = m.entries[:0], nil
}

var errValue = errors.New("access log entry: a member of our metadata has the wrong type")

// value is a google.protobuf.Value: the field of the choice that stands.
type value struct {
	num    protowire.Number // 0: none
	bytes  []byte
	varint uint64
	number float64
}

func (v value) want(num protowire.Number) error {
	if v.num != num {
		return errValue
	}
	return nil
}

func (v value) text(dst *string) error {
	*dst = string(v.bytes)
	return v.want(valueString)
}

// eachValue calls f with the members of a Struct. Of two members of one name
// the last stands; the reader overwrites, but an earlier one of a wrong type
// must not be an error, so names are looked at from the end.
func eachValue(msg []byte, f func(name []byte, v value) error) error {
	var entries [][]byte
	err := eachField(msg, func(f field) error {
		if f.num == structFields && f.typ == protowire.BytesType {
			entries = append(entries, f.bytes)
		}
		return nil
	})
	if err != nil {
		return err
	}
	seen := make([][]byte, 0, len(entries))
	for i := len(entries) - 1; i >= 0; i-- {
		name, raw, err := readPair(entries[i])
		if err != nil {
			return err
		}
		if contains(seen, name) {
			continue
		}
		seen = append(seen, name)
		v, err := readValue(raw)
		if err != nil {
			return err
		}
		if err := f(name, v); err != nil {
			return err
		}
	}
	return nil
}

func contains(names [][]byte, name []byte) bool {
	for _, n := range names {
		if string(n) == string(name) {
			return true
		}
	}
	return false
}

func readValue(msg []byte) (v value, err error) {
	err = eachField(msg, func(f field) error {
		switch {
		case f.num == valueNumber && f.typ == protowire.Fixed64Type:
			v = value{num: f.num, number: math.Float64frombits(f.varint)}
		case (f.num == valueBool || f.num == valueNull) && f.typ == protowire.VarintType:
			v = value{num: f.num, varint: f.varint}
		case (f.num == valueString || f.num == valueStruct || f.num == valueList) && f.typ == protowire.BytesType:
			v = value{num: f.num, bytes: f.bytes}
		}
		return nil
	})
	return v, err
}

// field is one field on the wire.
type field struct {
	num    protowire.Number
	typ    protowire.Type
	bytes  []byte // of BytesType
	varint uint64 // of VarintType and Fixed64Type
}

func readPair(entry []byte) (key, val []byte, err error) {
	err = eachField(entry, func(f field) error {
		switch {
		case f.typ != protowire.BytesType:
		case f.num == mapKey:
			key = f.bytes
		case f.num == mapValue:
			val = f.bytes
		}
		return nil
	})
	return key, val, err
}

// join merges two parts of one message.
func join(a, b []byte) []byte {
	if a == nil {
		return b[:len(b):len(b)]
	}
	return append(a[:len(a):len(a)], b...)
}

func eachField(msg []byte, f func(field) error) error {
	for len(msg) > 0 {
		num, typ, n := protowire.ConsumeTag(msg)
		if n < 0 {
			return fmt.Errorf("access log entry: %w", protowire.ParseError(n))
		}
		msg = msg[n:]
		v := field{num: num, typ: typ}
		switch typ {
		case protowire.BytesType:
			v.bytes, n = protowire.ConsumeBytes(msg)
		case protowire.VarintType:
			v.varint, n = protowire.ConsumeVarint(msg)
		case protowire.Fixed64Type:
			v.varint, n = protowire.ConsumeFixed64(msg)
		default:
			n = protowire.ConsumeFieldValue(num, typ, msg)
		}
		if n < 0 {
			return fmt.Errorf("access log entry: %w", protowire.ParseError(n))
		}
		msg = msg[n:]
		if err := f(v); err != nil {
			return err
		}
	}
	return nil
}
