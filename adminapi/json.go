package adminapi

import (
	"bytes"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	aigatewayv1 "aigateway/api/gen/aigateway/v1"
)

// numbers is runtime.JSONPb with plain JSON numbers for the 64-bit integers
// that the protos mark as such; protojson writes all of them as strings, which
// would break the published contract.
type numbers struct{ runtime.JSONPb }

func newNumbers() *numbers {
	return &numbers{runtime.JSONPb{
		// Without EmitUnpopulated zeros vanish and an empty month is null.
		MarshalOptions:   protojson.MarshalOptions{EmitUnpopulated: true},
		UnmarshalOptions: protojson.UnmarshalOptions{DiscardUnknown: false},
	}}
}

// Marshal writes v, which is a message or the member that response_body names.
func (n *numbers) Marshal(v any) ([]byte, error) {
	plain, err := n.JSONPb.Marshal(v)
	if err != nil {
		return nil, err
	}
	md, err := descriptorOf(v)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	out.Grow(len(plain))
	enc := jsontext.NewEncoder(&out)
	if err := rewrite(jsontext.NewDecoder(bytes.NewReader(plain)), enc, md, false); err != nil {
		return nil, fmt.Errorf("write numbers of %s: %w", md.FullName(), err)
	}
	return bytes.TrimRight(out.Bytes(), "\n"), nil
}

func descriptorOf(v any) (protoreflect.MessageDescriptor, error) {
	switch v := v.(type) {
	case proto.Message:
		return v.ProtoReflect().Descriptor(), nil
	case []*aigatewayv1.TagUsage:
		return (*aigatewayv1.TagUsage)(nil).ProtoReflect().Descriptor(), nil
	default:
		return nil, fmt.Errorf("no JSON for %T", v)
	}
}

// rewrite copies one value. md describes it, or its elements; nil copies it
// untouched. number says that strings in it are marked numbers.
func rewrite(dec *jsontext.Decoder, enc *jsontext.Encoder, md protoreflect.MessageDescriptor, number bool) error {
	token, err := dec.ReadToken()
	if err != nil {
		return err
	}
	switch kind := token.Kind(); {
	case kind == '"' && number:
		return enc.WriteValue(jsontext.Value(token.String()))
	case kind == '[':
		if err := enc.WriteToken(token); err != nil {
			return err
		}
		for dec.PeekKind() != ']' {
			if err := rewrite(dec, enc, md, number); err != nil {
				return err
			}
		}
		return rewrite(dec, enc, nil, false) // the closing bracket
	case kind == '{':
		if err := enc.WriteToken(token); err != nil {
			return err
		}
		for dec.PeekKind() != '}' {
			if err := rewriteMember(dec, enc, md); err != nil {
				return err
			}
		}
		return rewrite(dec, enc, nil, false)
	default:
		return enc.WriteToken(token)
	}
}

func rewriteMember(dec *jsontext.Decoder, enc *jsontext.Encoder, md protoreflect.MessageDescriptor) error {
	name, err := dec.ReadToken()
	if err != nil {
		return err
	}
	var fd protoreflect.FieldDescriptor
	if md != nil {
		fd = md.Fields().ByJSONName(name.String())
	}
	if fd != nil && onlyOfSeveral(fd) {
		name = name.Clone()
		list, err := dec.ReadValue()
		if err != nil || string(list) == "[]" {
			return err
		}
		if err := enc.WriteToken(name); err != nil {
			return err
		}
		return rewrite(jsontext.NewDecoder(bytes.NewReader(list)), enc, fd.Message(), false)
	}
	if err := enc.WriteToken(name); err != nil {
		return err
	}
	if fd == nil {
		return rewrite(dec, enc, nil, false)
	}
	return rewrite(dec, enc, fd.Message(), marked(fd))
}

// onlyOfSeveral reports whether a list says something of gateways that share a store.
// Empty, it is left out: the answers of one that is alone are what they always were.
func onlyOfSeveral(fd protoreflect.FieldDescriptor) bool {
	switch fd.Name() {
	case "unreachable", "behind", "replicas":
		return fd.IsList()
	}
	return false
}

// marked reports whether a field is a number in JSON.
func marked(fd protoreflect.FieldDescriptor) bool {
	options, ok := fd.Options().(*descriptorpb.FieldOptions)
	return ok && options.GetJstype() == descriptorpb.FieldOptions_JS_NUMBER
}
