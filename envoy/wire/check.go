package wire

import (
	"fmt"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	"aigateway/envoy"
)

// Header is one request header: its last value and how often it was sent.
type Header struct {
	Value []byte
	N     int
}

// Headers are the headers a decision depends on.
type Headers struct {
	RequestID, Authorization, APIKey, Tag       Header
	ContentType, ContentEncoding, ContentLength Header
	Upgrade, PartialBody, Beta, TraceParent     Header
}

// at returns where the header named key is kept; nil for all others.
func (h *Headers) at(key []byte) *Header {
	switch string(key) { // does not allocate
	case envoy.HeaderRequestID:
		return &h.RequestID
	case "authorization":
		return &h.Authorization
	case "x-api-key":
		return &h.APIKey
	case envoy.HeaderTag:
		return &h.Tag
	case "content-type":
		return &h.ContentType
	case "content-encoding":
		return &h.ContentEncoding
	case "content-length":
		return &h.ContentLength
	case "upgrade":
		return &h.Upgrade
	case envoy.HeaderBeta:
		return &h.Beta
	case envoy.HeaderTraceParent:
		return &h.TraceParent
	case "x-envoy-auth-partial-body":
		return &h.PartialBody
	default:
		return nil
	}
}

// Check is what a decision needs of Envoy's CheckRequest. Its slices alias the
// message: they are valid until Release, or as long as what Read was given.
type Check struct {
	Headers Headers
	// Raw says that the headers came one by one (encode_raw_headers) and not
	// as a map, in which repeated headers are joined by a comma.
	Raw    bool
	Method []byte
	Path   []byte // with its query, normalized
	API    []byte // context extension "api" of the route
	Step   []byte // context extension "step"

	text []byte // body as text
	data []byte // body as bytes (pack_as_bytes)
	buf  mem.Buffer
}

// Body is the request's body.
func (c *Check) Body() []byte {
	if len(c.data) > 0 {
		return c.data
	}
	return c.text
}

// Field numbers of envoy.service.auth.v3, envoy.config.core.v3.
const (
	checkRequestAttributes = 1
	attributesRequest      = 4
	attributesExtensions   = 10
	attributesRequestHTTP  = 2
	httpMethod             = 2
	httpHeaders            = 3
	httpPath               = 4
	httpBody               = 11
	httpRawBody            = 12
	httpHeaderMap          = 13
	headerMapHeaders       = 1
	headerKey              = 1
	headerValue            = 2
	headerRawValue         = 3
)

// ReadWire implements Reader. The message stays referenced until Release.
func (c *Check) ReadWire(data mem.BufferSlice) error {
	c.buf = data.MaterializeToBuffer(&messages)
	return c.Read(c.buf.ReadOnlyData())
}

// Release ends the life of every slice that was read.
func (c *Check) Release() {
	if c.buf != nil {
		c.buf.Free()
	}
	*c = Check{}
}

// Read takes a CheckRequest.
func (c *Check) Read(msg []byte) error {
	err := eachBytes(msg, func(n protowire.Number, v []byte) error {
		if n != checkRequestAttributes {
			return nil
		}
		return eachBytes(v, func(n protowire.Number, v []byte) error {
			switch n {
			case attributesRequest:
				return c.readRequest(v)
			case attributesExtensions:
				return c.readExtension(v)
			}
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("read check request: %w", err)
	}
	return nil
}

func (c *Check) readExtension(entry []byte) error {
	key, value, err := readPair(entry)
	switch string(key) {
	case envoy.ContextAPI:
		c.API = value
	case envoy.ContextStep:
		c.Step = value
	}
	return err
}

func (c *Check) readRequest(msg []byte) error {
	return eachBytes(msg, func(n protowire.Number, v []byte) error {
		if n != attributesRequestHTTP {
			return nil
		}
		return eachBytes(v, func(n protowire.Number, v []byte) error {
			switch n {
			case httpMethod:
				c.Method = v
			case httpHeaders:
				return c.readJoined(v)
			case httpPath:
				c.Path = v
			case httpHeaderMap:
				return eachBytes(v, func(n protowire.Number, v []byte) error {
					if n != headerMapHeaders {
						return nil
					}
					return c.readRaw(v)
				})
			case httpBody:
				c.text = v
			case httpRawBody:
				c.data = v
			}
			return nil
		})
	})
}

// readJoined takes an entry of the header map, which Envoy fills when it is not
// asked for raw headers. Raw ones win: they show what was sent twice.
func (c *Check) readJoined(entry []byte) error {
	key, value, err := readPair(entry)
	if err != nil || c.Raw {
		return err
	}
	if h := c.Headers.at(key); h != nil {
		*h = Header{value, 1}
	}
	return nil
}

func (c *Check) readRaw(msg []byte) error {
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
	if !c.Raw {
		c.Raw, c.Headers = true, Headers{}
	}
	if len(raw) == 0 {
		raw = text
	}
	if h := c.Headers.at(key); h != nil {
		*h = Header{raw, h.N + 1}
	}
	return nil
}
