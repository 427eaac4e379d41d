package wire

import (
	"google.golang.org/protobuf/encoding/protowire"
)

// field is one field of a message.
type field struct {
	num    protowire.Number
	typ    protowire.Type
	bytes  []byte // of BytesType
	varint uint64 // of VarintType and Fixed64Type
}

// eachField calls f with every field of msg. A caller follows protobuf's rules
// where they decide what a message means: fields in any order, the last scalar
// wins, a message that appears twice is merged, a field of another wire type is
// an unknown one.
func eachField(msg []byte, f func(field) error) error {
	for len(msg) > 0 {
		num, typ, n := protowire.ConsumeTag(msg)
		if n < 0 {
			return protowire.ParseError(n)
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
			return protowire.ParseError(n)
		}
		msg = msg[n:]
		if err := f(v); err != nil {
			return err
		}
	}
	return nil
}

// eachBytes is eachField for the length-delimited fields alone.
func eachBytes(msg []byte, f func(num protowire.Number, v []byte) error) error {
	return eachField(msg, func(v field) error {
		if v.typ != protowire.BytesType {
			return nil
		}
		return f(v.num, v.bytes)
	})
}

const (
	mapKey   = 1
	mapValue = 2
)

// readPair reads an entry of a map from text to text or to a message.
func readPair(entry []byte) (key, value []byte, err error) {
	err = eachBytes(entry, func(n protowire.Number, v []byte) error {
		switch n {
		case mapKey:
			key = v
		case mapValue:
			value = v
		}
		return nil
	})
	return key, value, err
}

// join merges two parts of one message.
func join(a, b []byte) []byte {
	if a == nil {
		return b[:len(b):len(b)]
	}
	return append(a[:len(a):len(a)], b...)
}

func appendVarint(dst []byte, num protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(dst, num, protowire.VarintType), v)
}

func appendString(dst []byte, num protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(dst, num, protowire.BytesType), s)
}

// appendMessage appends a nested message. Its length comes before its content
// but is known after it, so the content moves by the length of the length.
func appendMessage(dst []byte, num protowire.Number, content func([]byte) []byte) []byte {
	dst = protowire.AppendTag(dst, num, protowire.BytesType)
	at := len(dst)
	dst = content(append(dst, 0)) // most lengths take one byte
	size := len(dst) - at - 1
	if extra := protowire.SizeVarint(uint64(size)) - 1; extra > 0 {
		dst = append(dst, make([]byte, extra)...)
		copy(dst[at+1+extra:], dst[at+1:at+1+size])
	}
	protowire.AppendVarint(dst[:at], uint64(size))
	return dst
}
