package adminapi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"aigateway/budget"
)

// bodyCheck walks a JSON body beside the message it is for and copies it,
// without null members: null is absent. protojson alone would accept "500" and
// 5e2 for a number, and its errors name no field.
type bodyCheck struct {
	dec *jsontext.Decoder
	enc *jsontext.Encoder
}

// callField holds the text of a call. Over REST it may be the call itself: its
// bytes become the text, untouched, for the arithmetic counts them.
const callField = "aigateway.v1.ExplainRequest.body"

// maxComparedNames is how many names a call may have to be looked at here for
// those that appear twice; with more, the explainer does, or refuses it.
const maxComparedNames = 10_000

func checkBody(body []byte, md protoreflect.MessageDescriptor) ([]byte, error) {
	switch {
	case len(bytes.TrimSpace(body)) == 0:
		return nil, budget.Invalid("body_missing", "", "the body is empty; send a JSON object")
	case !utf8.Valid(body):
		return nil, budget.Invalid("invalid_utf8", "", "the body is not valid UTF-8")
	}
	var out bytes.Buffer
	// Names are compared in object, which knows few of them: the decoder would note
	// each of a million names in a call to explain.
	c := bodyCheck{jsontext.NewDecoder(bytes.NewReader(body), jsontext.AllowDuplicateNames(true)), jsontext.NewEncoder(&out)}
	if kind := c.dec.PeekKind(); kind != '{' {
		if _, err := c.dec.ReadValue(); err != nil {
			return nil, readable(err)
		}
		return nil, budget.Invalid("field_invalid", "", "the body is "+kindName(kind)+"; send a JSON object")
	}
	if err := c.object(md, ""); err != nil {
		return nil, readable(err)
	}
	if _, err := c.dec.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, budget.Invalid("body_not_json", "", "the body has data after its JSON object; send one object")
	}
	return out.Bytes(), nil
}

// readable turns a syntax error into one that names the place.
func readable(err error) error {
	var syntax *jsontext.SyntacticError
	var ours *budget.Error
	switch {
	case errors.As(err, &ours):
		return ours
	case errors.As(err, &syntax) && errors.Is(syntax.Err, jsontext.ErrDuplicateName):
		return duplicate(syntax.JSONPointer.LastToken())
	case errors.As(err, &syntax):
		return budget.Invalid("body_not_json", "", fmt.Sprintf("the body is not JSON: error at byte %d", syntax.ByteOffset))
	default: // the body ended within a value
		return budget.Invalid("body_not_json", "", "the body is not JSON: it ends too early")
	}
}

func duplicate(name string) error {
	return budget.Invalid("duplicate_key", clip(name), fmt.Sprintf("member %q appears twice; send it once", clip(name)))
}

func (c *bodyCheck) object(md protoreflect.MessageDescriptor, path string) error {
	if _, err := c.copyToken(); err != nil {
		return err
	}
	seen := map[string]bool{}
	for {
		name, err := c.dec.ReadToken()
		if err != nil {
			return err
		}
		if name.Kind() == '}' {
			return c.enc.WriteToken(name)
		}
		text := name.String()
		if seen[text] {
			return duplicate(text)
		}
		fd := md.Fields().ByJSONName(text)
		if fd == nil {
			return budget.Invalid("unknown_field", clip(path+text), fmt.Sprintf("unknown member %q; check its spelling against /openapi.json", clip(path+text)))
		}
		seen[text] = true
		if readOnly(fd) {
			return readOnlyError(path + text)
		}
		if c.dec.PeekKind() == 'n' {
			if err := c.dec.SkipValue(); err != nil {
				return err
			}
			continue
		}
		if err := c.enc.WriteToken(jsontext.String(text)); err != nil {
			return err
		}
		if err := c.member(fd, path+text); err != nil {
			return err
		}
	}
}

func (c *bodyCheck) member(fd protoreflect.FieldDescriptor, path string) error {
	if !fd.IsList() {
		return c.value(fd, path)
	}
	if kind := c.dec.PeekKind(); kind != '[' {
		return c.wrongKind(path, "an array")
	}
	if _, err := c.copyToken(); err != nil {
		return err
	}
	for c.dec.PeekKind() != ']' {
		if err := c.value(fd, path); err != nil {
			return err
		}
	}
	_, err := c.copyToken()
	return err
}

func (c *bodyCheck) value(fd protoreflect.FieldDescriptor, path string) error {
	kind := c.dec.PeekKind()
	switch fd.Kind() {
	case protoreflect.StringKind:
		if kind == '{' && fd.FullName() == callField {
			raw, err := c.dec.ReadValue()
			if err != nil {
				return err
			}
			if bytes.Count(raw, []byte(":")) <= maxComparedNames {
				if err := jsontext.NewDecoder(bytes.NewReader(raw)).SkipValue(); err != nil {
					return err // a name appears twice
				}
			}
			return c.enc.WriteToken(jsontext.String(string(raw)))
		}
		if kind != '"' {
			return c.wrongKind(path, "a string")
		}
	case protoreflect.Int64Kind, protoreflect.Int32Kind:
		return c.integer(path)
	case protoreflect.MessageKind:
		if fd.Message().FullName() == "google.protobuf.Timestamp" {
			return c.timestamp(path)
		}
		if kind != '{' {
			return c.wrongKind(path, "an object")
		}
		return c.object(fd.Message(), path+".")
	default: // no message has such a field; a new kind needs its own case
		return fmt.Errorf("field %s has kind %v", fd.FullName(), fd.Kind())
	}
	_, err := c.copyToken()
	return err
}

func (c *bodyCheck) integer(path string) error {
	if c.dec.PeekKind() != '0' {
		return c.wrongKind(path, "a whole number without quotes")
	}
	raw, err := c.dec.ReadValue()
	if err != nil {
		return err
	}
	if _, err := strconv.ParseInt(string(raw), 10, 64); err != nil {
		return budget.Invalid("field_invalid", path, fmt.Sprintf("%s is %s; use a whole number of up to 18 digits, without exponent or fraction", path, clip(string(raw))))
	}
	return c.enc.WriteValue(raw)
}

func (c *bodyCheck) timestamp(path string) error {
	if c.dec.PeekKind() != '"' {
		return c.wrongKind(path, "a string in RFC 3339")
	}
	raw, err := c.dec.ReadValue()
	if err != nil {
		return err
	}
	if err := protojson.Unmarshal(raw, &timestamppb.Timestamp{}); err != nil {
		return budget.Invalid("field_invalid", path, fmt.Sprintf("%s is %s; write RFC 3339, such as 2027-01-01T00:00:00Z", path, clip(string(raw))))
	}
	return c.enc.WriteValue(raw)
}

// wrongKind names what is there instead of what is wanted, unless it is not
// JSON at all.
func (c *bodyCheck) wrongKind(path, want string) error {
	kind := c.dec.PeekKind()
	if _, err := c.dec.ReadToken(); err != nil {
		return err
	}
	return budget.Invalid("field_invalid", path, fmt.Sprintf("%s is %s; send %s", path, kindName(kind), want))
}

func (c *bodyCheck) copyToken() (jsontext.Token, error) {
	token, err := c.dec.ReadToken()
	if err != nil {
		return token, err
	}
	return token, c.enc.WriteToken(token)
}

func kindName(k jsontext.Kind) string {
	switch k {
	case '"':
		return "a string"
	case '0':
		return "a number"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	case '[':
		return "an array"
	case '{':
		return "an object"
	default:
		return "not JSON"
	}
}
