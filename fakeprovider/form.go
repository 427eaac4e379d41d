package fakeprovider

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"mime/multipart"
	"strings"
)

// maxPart is the largest part of a form in bytes; OpenAI takes files of 25 MB.
const maxPart = 25 << 20

// file is an uploaded one.
type file struct {
	name string
	data []byte
}

// form reads a request's members and files: of a form, whose names may end in
// [], or of a JSON body, which has no files.
func (c *call) form() (members, map[string][]file, *refusal) {
	kind, params, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" {
		m, bad := c.members()
		return m, nil, bad
	}
	m, files := members{}, map[string][]file{}
	r := multipart.NewReader(bytes.NewReader(c.record.Body), params["boundary"])
	for {
		part, err := r.NextPart()
		if err == io.EOF {
			return m, files, nil
		}
		if err != nil {
			return nil, nil, invalid("", "We could not parse the form of your request.")
		}
		data, err := io.ReadAll(io.LimitReader(part, maxPart+1))
		if err != nil || len(data) > maxPart {
			return nil, nil, invalid(part.FormName(), "Maximum content size limit exceeded.")
		}
		name := strings.TrimSuffix(part.FormName(), "[]")
		if part.FileName() != "" {
			files[name] = append(files[name], file{part.FileName(), data})
			continue
		}
		m[name] = formValue(data)
	}
}

// formValue is a field as JSON: a number or a truth as it is, all else a text.
func formValue(data []byte) json.RawMessage {
	var number json.Number
	text := string(data)
	if text == "true" || text == "false" || json.Unmarshal(data, &number) == nil {
		return data
	}
	return marshal(text)
}
