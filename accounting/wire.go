package accounting

import (
	"errors"
	"fmt"

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
	commonDuration     = 23
	commonIntermediate = 27
	commonType         = 33

	requestID = 9

	responseCode    = 1
	responseHeaders = 4
	responseDetails = 6

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

var errValue = errors.New("access log entry: a member of our metadata is no text")

// textOf is the text of a Struct's member, empty when it has none. Of two
// members of one name the last stands, and so does the last of a Value's kinds.
func textOf(msg []byte, name string) (string, error) {
	var raw []byte
	found := false
	err := eachField(msg, func(f field) error {
		if f.num != structFields || f.typ != protowire.BytesType {
			return nil
		}
		key, value, err := readPair(f.bytes)
		if string(key) == name {
			raw, found = value, true
		}
		return err
	})
	if err != nil || !found {
		return "", err
	}
	var kind protowire.Number
	var text []byte
	err = eachField(raw, func(f field) error {
		switch {
		case f.typ == protowire.BytesType && (f.num == valueString || f.num == valueStruct || f.num == valueList),
			f.typ == protowire.VarintType && (f.num == valueNull || f.num == valueBool),
			f.typ == protowire.Fixed64Type && f.num == valueNumber:
			kind, text = f.num, f.bytes
		}
		return nil
	})
	if err == nil && kind != valueString {
		err = errValue
	}
	return string(text), err
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
