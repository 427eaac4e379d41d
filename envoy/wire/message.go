package wire

import (
	"errors"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// LogMessage is a StreamAccessLogsMessage of which only the HTTP entries are taken,
// each still on the wire. The control server's codec lets it read itself:
// decoding whole entries into objects costs several times as much as settling
// them, and one text that is not UTF-8, from a provider's answer, would make
// the generated decoder refuse the batch and end the stream.
type LogMessage struct {
	Entries [][]byte // for ReadEntry; valid until Release
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
)

// ReadWire implements Reader.
func (m *LogMessage) ReadWire(data mem.BufferSlice) error {
	m.buf = data.MaterializeToBuffer(&messages)
	return eachField(m.buf.ReadOnlyData(), func(f field) error {
		switch {
		case f.typ != protowire.BytesType:
		case f.num == messageTCP: // of a choice, the last one stands
			m.Entries = m.Entries[:0]
		case f.num == messageHTTP:
			return eachField(f.bytes, func(f field) error {
				if f.num == entriesEntry && f.typ == protowire.BytesType {
					m.Entries = append(m.Entries, f.bytes)
				}
				return nil
			})
		}
		return nil
	})
}

// Release ends the life of the entries.
func (m *LogMessage) Release() {
	if m.buf != nil {
		m.buf.Free()
	}
	clear(m.Entries)
	m.Entries, m.buf = m.Entries[:0], nil
}

var errValue = errors.New("a member of our metadata is no text")

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
