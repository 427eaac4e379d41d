package extauthz

import (
	"fmt"

	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers the codec this one falls back to
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	"aigateway/envoy"
)

// WireReader is a message that reads itself from the wire, taking what it needs
// and nothing else. data is freed after the call; a reader that keeps parts of
// it holds its own reference.
type WireReader interface {
	ReadWire(data mem.BufferSlice) error
}

// WireWriter is a message that writes itself.
type WireWriter interface {
	AppendWire(dst []byte) ([]byte, error)
}

// codec is the protobuf codec of the control server. Messages that implement
// WireReader or WireWriter read and write themselves, all others are generated
// types and take gRPC's own codec: decoding a CheckRequest into objects would
// cost more than the decision.
type codec struct{ fallback encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2("proto")} }

// Name is part of the content type; the bytes are protobuf in either case.
func (codec) Name() string { return "proto" }

func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	w, ok := v.(WireWriter)
	if !ok {
		return c.fallback.Marshal(v)
	}
	b, err := w.AppendWire(make([]byte, 0, 1024))
	if err != nil {
		return nil, err
	}
	return mem.BufferSlice{mem.SliceBuffer(b)}, nil
}

func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	if r, ok := v.(WireReader); ok {
		return r.ReadWire(data)
	}
	return c.fallback.Unmarshal(data, v)
}

// checkRequest is a CheckRequest on the wire and what was read of it.
type checkRequest struct {
	request
	buf mem.Buffer
}

// ReadWire implements WireReader. The message stays referenced until release.
func (c *checkRequest) ReadWire(data mem.BufferSlice) error {
	c.buf = data.MaterializeToBuffer(mem.DefaultBufferPool())
	return c.request.read(c.buf.ReadOnlyData())
}

// release ends the life of every slice that was read.
func (c *checkRequest) release() {
	if c.buf != nil {
		c.buf.Free()
	}
	*c = checkRequest{}
}

// Field numbers of envoy.service.auth.v3, envoy.config.core.v3.
const (
	checkRequestAttributes = 1
	attributesRequest      = 4
	attributesExtensions   = 10
	attributesRequestHTTP  = 2
	httpMethod             = 2
	httpHeaders            = 3
	httpBody               = 11
	httpRawBody            = 12
	httpHeaderMap          = 13
	headerMapHeaders       = 1
	headerKey              = 1
	headerValue            = 2
	headerRawValue         = 3
	mapKey                 = 1
	mapValue               = 2
)

// read takes a CheckRequest. It follows protobuf's rules where they decide what
// a message means: fields in any order, the last scalar wins, a message that
// appears twice is merged, a field of another wire type is an unknown one.
func (r *request) read(msg []byte) error {
	return eachBytes(msg, func(n protowire.Number, v []byte) error {
		if n != checkRequestAttributes {
			return nil
		}
		return eachBytes(v, func(n protowire.Number, v []byte) error {
			switch n {
			case attributesRequest:
				return r.readRequest(v)
			case attributesExtensions:
				key, value, err := readPair(v)
				switch string(key) {
				case envoy.ContextAPI:
					r.api = value
				case envoy.ContextStep:
					r.step = value
				}
				return err
			}
			return nil
		})
	})
}

func (r *request) readRequest(msg []byte) error {
	return eachBytes(msg, func(n protowire.Number, v []byte) error {
		if n != attributesRequestHTTP {
			return nil
		}
		return eachBytes(v, func(n protowire.Number, v []byte) error {
			switch n {
			case httpMethod:
				r.method = v
			case httpHeaders:
				return r.readJoined(v)
			case httpHeaderMap:
				return eachBytes(v, func(n protowire.Number, v []byte) error {
					if n != headerMapHeaders {
						return nil
					}
					return r.readRaw(v)
				})
			case httpBody:
				r.text = v
			case httpRawBody:
				r.data = v
			}
			return nil
		})
	})
}

// readJoined takes an entry of the header map, which Envoy fills when it is not
// asked for raw headers. Raw ones win: they show what was sent twice.
func (r *request) readJoined(entry []byte) error {
	key, value, err := readPair(entry)
	if err != nil || r.raw {
		return err
	}
	if f := r.headers.at(key); f != nil {
		*f = field{value, 1}
	}
	return nil
}

func (r *request) readRaw(msg []byte) error {
	var key, text, raw []byte
	err := eachBytes(msg, func(n protowire.Number, v []byte) error {
		switch n {
		case headerKey:
			key = v
		case headerValue:
			text = v
		case headerRawValue:
			raw = v
		}
		return nil
	})
	if err != nil {
		return err
	}
	if !r.raw {
		r.raw, r.headers = true, fields{}
	}
	if len(raw) == 0 {
		raw = text
	}
	if f := r.headers.at(key); f != nil {
		*f = field{raw, f.n + 1}
	}
	return nil
}

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

// eachBytes calls f with every length-delimited field of msg and skips others.
func eachBytes(msg []byte, f func(protowire.Number, []byte) error) error {
	for len(msg) > 0 {
		num, typ, n := protowire.ConsumeTag(msg)
		if n < 0 {
			return fmt.Errorf("read check request: %w", protowire.ParseError(n))
		}
		msg = msg[n:]
		if typ != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(num, typ, msg); n < 0 {
				return fmt.Errorf("read check request: %w", protowire.ParseError(n))
			}
			msg = msg[n:]
			continue
		}
		v, n := protowire.ConsumeBytes(msg)
		if n < 0 {
			return fmt.Errorf("read check request: %w", protowire.ParseError(n))
		}
		if err := f(num, v); err != nil {
			return err
		}
		msg = msg[n:]
	}
	return nil
}
