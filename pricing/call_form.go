package pricing

import (
	"bytes"
	"context"
	"fmt"
	"mime"
	"strconv"
	"strings"
	"unicode/utf8"

	"aigateway/budget"

	"github.com/go-json-experiment/json/jsontext"
)

// Limits of a form: ten times what the largest call of any API has, which is 16
// images and a mask beside a dozen fields.
const (
	maxParts     = 200
	maxPartHead  = 4 << 10 // bytes of a part's headers
	maxField     = 1 << 20 // bytes of a part that is no file
	maxBoundary  = 70      // RFC 2046, 5.1.1
	maxFormNames = 64      // bytes of a part's name
)

// FormBoundary is the boundary of a form, by the value of its content-type;
// empty for every other type. The error is a *budget.Error. It refuses what two
// servers could read differently: parameters twice or of another kind, and
// characters in a boundary that only some read without quotes.
func FormBoundary(contentType []byte) (string, error) {
	media, params, _ := strings.Cut(string(contentType), ";")
	if !strings.EqualFold(strings.TrimSpace(media), "multipart/form-data") {
		return "", nil
	}
	wrong := func(what string) (string, error) {
		return "", budget.Invalid("content_type_unsupported", "content-type", "the content-type of the form "+what+"; send multipart/form-data with one boundary of letters, digits and '+_-.")
	}
	boundary := ""
	for params = strings.TrimSpace(params); params != ""; {
		var param string
		param, params, _ = strings.Cut(params, ";")
		name, value, _ := strings.Cut(strings.TrimSpace(param), "=")
		value = unquoteParam(value)
		switch {
		case strings.EqualFold(name, "charset") && (strings.EqualFold(value, "utf-8") || strings.EqualFold(value, "us-ascii")):
		case !strings.EqualFold(name, "boundary"):
			return wrong("has a parameter beside its boundary")
		case boundary != "":
			return wrong("has two boundaries")
		case value == "" || len(value) > maxBoundary || strings.Trim(value, boundaryChars) != "":
			return wrong("has no boundary that everybody reads alike")
		default:
			boundary = value
		}
		params = strings.TrimSpace(params)
	}
	if boundary == "" {
		return wrong("has no boundary")
	}
	return boundary, nil
}

const boundaryChars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789'+_-."

func unquoteParam(s string) string {
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		return s[1 : len(s)-1]
	}
	return s
}

// ParseForm reads the body of a form, multipart/form-data, as strictly as
// ParseCallContext reads JSON: whatever two parsers could read differently is
// refused. Its fields are the members of the body, with the same meaning; files
// are parts with a file name.
func ParseForm(ctx context.Context, e Endpoint, boundary string, body []byte) (*Call, error) {
	d := e.declared()
	if !d.forms {
		return nil, budget.Invalid("content_type_unsupported", "content-type", fmt.Sprintf("%s takes no form; send the body as JSON, with content-type: application/json", d.name))
	}
	f := form{
		parser:    &parser{call: Call{Endpoint: e, body: body, choices: 1, toolCalls: -1, form: &formText{}}, top: d.members, ctx: ctx},
		delimiter: []byte("--" + boundary), seen: make(map[string]bool),
	}
	if err := f.parts(); err != nil {
		return nil, f.explain(err)
	}
	return f.finish()
}

// form reads the parts of a body.
type form struct {
	*parser
	delimiter []byte
	seen      map[string]bool // names of parts, without brackets
}

// formText is where a form's fields are, which are its text.
type formText struct {
	fields []span
	length span // of the model, as its part's content-length says it; empty: it does not
}

// bytes is how many can become text tokens; see Call.textBytes.
func (t *formText) bytes(body []byte, nfkc bool) int64 {
	var n int64
	for _, f := range t.fields {
		n += int64(f.end - f.at)
		if nfkc {
			n += growth(body[f.at:f.end])
		}
	}
	return n
}

// lengthEdit is what the length of the model's part becomes with another name.
func (t *formText) lengthEdit(name string) []Edit {
	if t.length.end == 0 {
		return nil
	}
	return []Edit{{t.length.at, t.length.end - t.length.at, strconv.Itoa(len(name))}}
}

func otherCharset() error { return formFault("has a part in another character set than UTF-8") }

func formFault(what string) error {
	return budget.Invalid("form_invalid", "", "the form "+what+"; send multipart/form-data as RFC 7578 has it, with CRLF line ends and nothing around its parts")
}

// parts splits the body. Wherever the delimiter stands, it must be one: preceded
// by a line end, or first, and followed by one, or the end. So a parser that is
// content with less finds the same parts.
func (f *form) parts() error {
	body := f.call.body
	if !bytes.HasPrefix(body, f.delimiter) {
		if len(body) == 0 {
			return budget.Invalid("body_missing", "", "the request has no body; send a form")
		}
		return formFault("does not begin with its boundary")
	}
	at := len(f.delimiter)
	for n := 0; ; n++ {
		rest := body[at:]
		switch {
		case string(rest) == "--" || string(rest) == "--\r\n":
			return nil
		case !bytes.HasPrefix(rest, []byte("\r\n")):
			return formFault("has something behind a boundary, or behind its end")
		case n >= maxParts:
			return tooMany("parts", maxParts)
		}
		if err := f.waiting(); err != nil {
			return err
		}
		at += len("\r\n")
		next := bytes.Index(body[at:], f.delimiter)
		if next < 0 {
			return formFault("has no final boundary")
		}
		end := at + next
		if next < 2 || string(body[end-2:end]) != "\r\n" {
			return formFault("has its boundary where none is")
		}
		if err := f.part(at, end-2); err != nil {
			return err
		}
		at = end + len(f.delimiter)
	}
}

// part reads one part, which stands between at and end.
func (f *form) part(at, end int) error {
	body := f.call.body
	size := bytes.Index(body[at:end], []byte("\r\n\r\n"))
	if size < 0 || size > maxPartHead {
		return formFault("has a part without headers, or with very long ones")
	}
	h, err := readPartHead(string(body[at : at+size]))
	if err != nil {
		return err
	}
	if h.name == "model" && h.length >= 0 {
		f.call.form.length = span{at + h.digits.at, at + h.digits.end}
	}
	at += size + len("\r\n\r\n")
	if h.ascii && bytes.ContainsFunc(body[at:end], func(r rune) bool { return r >= utf8.RuneSelf }) {
		return otherCharset()
	}
	if h.length >= 0 && h.length != end-at {
		return formFault("has a part that is not as long as its content-length says")
	}
	name, bracket, isList := strings.Cut(h.name, "[")
	if err := f.once(h.name, name, bracket, isList); err != nil {
		return err
	}
	if h.file {
		return f.file(name, at, end)
	}
	return f.field(h.name, name, isList, at, end)
}

// once refuses a name that is there twice, unless it is that of a list, and one
// that is there with brackets and without.
func (f *form) once(whole, name, bracket string, isList bool) error {
	if f.seen[whole] && bracket != "]" {
		return budget.Invalid("duplicate_key", whole, fmt.Sprintf("%s appears twice in the form; send it once", clip(whole)))
	}
	f.seen[whole] = true
	other := name
	if !isList {
		other = name + "["
	}
	if f.seen[other] {
		return budget.Invalid("duplicate_key", whole, fmt.Sprintf("%s appears in the form with brackets and without; send one of them", clip(name)))
	}
	if isList {
		f.seen[name+"["] = true
	}
	return nil
}

// file reads a part with a file name.
func (f *form) file(name string, at, end int) error {
	m := f.top.named[name]
	if m == nil || m.file == nil {
		if r := f.top.respelt([]byte(name)); r != nil {
			return budget.Invalid("field_invalid", name, fmt.Sprintf("%s is sent as a file; send it as a field named %s", clip(name), r.name))
		}
		return budget.Invalid("field_invalid", name, fmt.Sprintf("%s is a file that %s does not take; leave it out", clip(name), f.call.Endpoint))
	}
	f.call.payload += int64(end - at)
	return m.file(f.parser, f.call.body[at:end])
}

// field reads a part without a file name as the member that it is: the readers of
// a JSON body read it, in an object of that one member.
func (f *form) field(whole, name string, isList bool, at, end int) error {
	text := f.call.body[at:end]
	if len(text) > maxField {
		return &budget.Error{Kind: budget.KindTooLarge, Reason: "body_too_large", Field: whole, Message: fmt.Sprintf("%s is longer than %d bytes; send it as a file, or shorter", clip(whole), maxField)}
	}
	if !utf8.Valid(text) {
		return budget.Invalid("invalid_utf8", whole, fmt.Sprintf("%s is not valid UTF-8; encode text as UTF-8", clip(whole)))
	}
	f.call.form.fields = append(f.call.form.fields, span{at, end})
	m := f.top.named[name]
	if name == "_charset_" { // some read all else by it
		return formFault("names a character set; encode text as UTF-8, without _charset_")
	}
	if isList && m == nil && f.call.unread == "" {
		f.call.unread = whole
	}
	if isList && (m == nil || !m.list && m.reason == "") {
		if f.top.respelt([]byte(name)) != nil {
			return budget.Invalid("field_invalid", whole, fmt.Sprintf("%s is no list; send %s", clip(whole), clip(name)))
		}
		return nil // of something that nobody here knows
	}
	value := quoteJSON(string(text))
	if m != nil && m.plain {
		if value = string(text); !plainValue(value) {
			return budget.Invalid("field_invalid", whole, fmt.Sprintf("%s is %s; send a number, true or false", clip(whole), clip(value)))
		}
	}
	if err := f.member(name, value); err != nil {
		return err
	}
	if name == "model" {
		f.call.model = span{at, end}
	}
	return nil
}

// plainValue reports whether a field's text is a number or a truth, as JSON
// writes it.
func plainValue(s string) bool {
	if s == "true" || s == "false" {
		return true
	}
	_, err := strconv.ParseFloat(s, 64)
	return err == nil && jsontext.Value(s).IsValid()
}

// member reads {"name":value}.
func (f *form) member(name, value string) error {
	one := []byte("{" + quoteJSON(name) + ":" + value + "}")
	return f.document(one, f.topMember)
}

// partHead is what the headers of a part say.
type partHead struct {
	name   string
	file   bool
	length int  // -1: it does not say
	digits span // of the length, in the headers
	ascii  bool // its bytes must be, for its character set is UTF-8 there only
}

// readPartHead reads a part's headers. Those that could change what its bytes
// are, to some parser, are refused.
func readPartHead(text string) (partHead, error) {
	h := partHead{length: -1}
	if strings.ContainsAny(strings.ReplaceAll(text, "\r\n", ""), "\r\n\x00") {
		return h, formFault("has line ends that are not CRLF")
	}
	seen := make(map[string]bool)
	at := 0 // where the next line begins
	for line := range strings.SplitSeq(text, "\r\n") {
		at += len(line) + len("\r\n")
		name, value, ok := strings.Cut(line, ":")
		name = strings.ToLower(name)
		switch {
		case !ok || strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t"):
			return h, formFault("has a header over several lines, or none where one must be")
		case seen[name]:
			return h, formFault("has a part with the same header twice")
		}
		seen[name] = true
		value = strings.Trim(value, " ")
		if name == "content-length" {
			end := at - len("\r\n") - (len(line) - len(strings.TrimRight(line, " ")))
			h.digits = span{end - len(value), end}
		}
		if err := h.header(name, value); err != nil {
			return h, err
		}
	}
	if !seen["content-disposition"] {
		return h, formFault("has a part without content-disposition")
	}
	return h, nil
}

func (h *partHead) header(name, value string) error {
	switch name {
	case "content-disposition":
		return h.disposition(value)
	case "content-type":
		media, params, _ := strings.Cut(strings.ToLower(value), ";")
		charset := strings.TrimPrefix(strings.ReplaceAll(params, " ", ""), "charset=")
		if strings.HasPrefix(media, "multipart/") || strings.HasPrefix(media, "message/") {
			return formFault("has a form within a part")
		}
		if !strings.HasPrefix(media, "text/") && !strings.Contains(params, "charset") {
			return nil
		}
		switch charset {
		case "", "utf-8", `"utf-8"`, "us-ascii":
		case "iso-8859-1": // Apache's HttpClient says so of every text
			h.ascii = true
		default:
			return otherCharset()
		}
	case "content-length":
		n, err := strconv.ParseUint(value, 10, 31)
		if err != nil {
			return formFault("has a part whose content-length is no number")
		}
		h.length = int(n)
	case "content-transfer-encoding": // 7bit, 8bit and binary change nothing
		if v := strings.ToLower(value); v != "binary" && v != "8bit" && v != "7bit" {
			return formFault("has a part in another encoding")
		}
	default:
		return formFault("has a part with the header " + clip(strings.ToValidUTF8(name, "?")))
	}
	return nil
}

// disposition reads form-data; name="…"; filename="…". Escapes are refused: one
// parser undoes them, another does not. A filename* may stand beside a filename
// that says the same.
func (h *partHead) disposition(value string) error {
	kind, params, _ := strings.Cut(value, ";")
	if !strings.EqualFold(strings.TrimSpace(kind), "form-data") {
		return formFault("has a part that is no form-data")
	}
	file, extended, named := "", "", false
	for params = strings.TrimSpace(params); params != ""; {
		name, rest, ok := strings.Cut(params, "=")
		text, after, good := paramValue(rest)
		if !ok || !good {
			return formFault("has a content-disposition that not everybody reads alike")
		}
		switch name {
		case "name":
			if named || text == "" || len(text) > maxFormNames || strings.ContainsAny(text, "%\t ") || !isASCII(text) {
				return formFault("has a part without a plain name, or with two")
			}
			named, h.name = true, text
		case "filename":
			if h.file || text == "" { // some take a file without a name for a field
				return formFault("has a part with two file names, or an empty one")
			}
			h.file, file = true, text
		case "filename*":
			if extended != "" {
				return formFault("has a part with two file names")
			}
			extended = text
		default:
			return formFault("has a content-disposition with more than a name and a filename")
		}
		params = after
	}
	if !named || extended != "" && (!h.file || !sameFileName(file, extended)) {
		return formFault("has a part whose names differ, or without one")
	}
	return nil
}

// paramValue reads a quoted text without escapes, or a token, and what follows.
func paramValue(s string) (value, rest string, ok bool) {
	if strings.HasPrefix(s, `"`) {
		end := strings.IndexByte(s[1:], '"')
		if end < 0 {
			return "", "", false
		}
		value, rest = s[1:1+end], strings.TrimSpace(s[2+end:])
		if strings.Contains(value, `\`) {
			return "", "", false
		}
	} else {
		end := strings.IndexByte(s, ';')
		if end < 0 {
			end = len(s)
		}
		value, rest = strings.TrimSpace(s[:end]), s[end:]
		if strings.ContainsAny(value, " \t\"\\,()<>@:/[]?=") {
			return "", "", false
		}
	}
	if rest == "" {
		return value, "", true
	}
	if rest[0] != ';' {
		return "", "", false
	}
	return value, strings.TrimSpace(rest[1:]), true
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// sameFileName reports whether what RFC 8187 encodes is plain, or what plain
// encodes as RFC 2047 has it: .NET sends both of a name beyond ASCII.
func sameFileName(plain, extended string) bool {
	_, params, err := mime.ParseMediaType("form-data; filename*=" + extended)
	if err != nil || params["filename"] == "" {
		return false
	}
	word, err := new(mime.WordDecoder).DecodeHeader(plain)
	return params["filename"] == plain || err == nil && params["filename"] == word
}

// finish is what the whole form shows.
func (f *form) finish() (*Call, error) {
	c := &f.call
	if d := c.Endpoint.declared(); d.complete != nil {
		if err := d.complete(c); err != nil {
			return nil, err
		}
	}
	if c.Model == "" {
		return nil, modelMissing()
	}
	return c, nil
}
