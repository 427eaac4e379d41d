package wire

import "google.golang.org/grpc/encoding"

// NewCodec is the codec of ServerOptions.
func NewCodec() encoding.CodecV2 { return newCodec() }

// At is where the header named key is kept.
func (h *Headers) At(key []byte) *Header { return h.at(key) }
