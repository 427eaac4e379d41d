package adminapi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/reflect/protoreflect"

	"aigateway/budget"
)

const (
	// maxBodyBytes is far more than any request of this API needs …
	maxBodyBytes = 64 << 10
	// … but one, which holds a whole call to explain: the default of the
	// configuration's limit for those.
	maxExplainBytes = 8 << 20
)

// readQuery checks the query parameters of r. The gateway would ignore what it
// does not know, so that a misspelt month silently means this month.
func (rt *route) readQuery(r *http.Request) (url.Values, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, budget.Invalid("field_invalid", "", "the query string is malformed; percent-encode values and join parameters with &")
	}
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names) // the first error is the same each time
	for _, name := range names {
		if rt.csv && name == formatParam {
			continue // read by wantsCSV
		}
		fd, ok := rt.query[name]
		if !ok {
			return nil, budget.Invalid("unknown_field", clip(strings.ToValidUTF8(name, "?")), fmt.Sprintf("unknown query parameter %q; this path takes %s", clip(name), rt.parameters()))
		}
		if len(values[name]) > 1 && !fd.IsList() {
			return nil, budget.Invalid("duplicate_key", name, name+" is sent twice; send it once")
		}
		for _, v := range values[name] {
			if err := checkParameter(name, v, fd); err != nil {
				return nil, err
			}
		}
	}
	return values, nil
}

func (rt *route) parameters() string {
	var names []string
	for name := range rt.query {
		names = append(names, name)
	}
	if rt.csv {
		names = append(names, formatParam)
	}
	slices.Sort(names)
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

func checkParameter(name, v string, fd protoreflect.FieldDescriptor) error {
	switch {
	case v == "": // "?tag=" must not mean every tag
		return budget.Invalid("field_invalid", name, name+" is empty; give it a value or leave it out")
	case !utf8.ValidString(v):
		return budget.Invalid("invalid_utf8", name, name+" is not valid UTF-8")
	case fd.Kind() == protoreflect.Int32Kind:
		if _, err := strconv.ParseInt(v, 10, 32); err != nil {
			return budget.Invalid("field_invalid", name, fmt.Sprintf("%s is %q; use a whole number", name, clip(v)))
		}
	}
	return nil
}

// readBody reads and checks the body of r. The result holds exactly what the
// rpc's message can hold.
func (rt *route) readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return nil, budget.Invalid("content_encoding_unsupported", "content-encoding", "the body is compressed; send it as it is")
	}
	if rt.body != nil {
		if err := checkContentType(r.Header); err != nil {
			return nil, err
		}
	}
	conn := http.NewResponseController(w)
	_ = conn.SetReadDeadline(time.Now().Add(receiveTimeout)) // a test's recorder has none
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, rt.limit))
	_ = conn.SetReadDeadline(time.Time{}) // the answer may take longer
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, &budget.Error{Kind: budget.KindTooLarge, Reason: "body_too_large", Message: fmt.Sprintf("the body is larger than %d bytes; no request of this API needs that", rt.limit)}
	case err != nil:
		return nil, budget.Invalid("body_missing", "", "the body ended early; send it whole")
	}
	if rt.body == nil {
		if len(bytes.TrimSpace(body)) > 0 { // an etag in the body of a DELETE must not be ignored
			return nil, budget.Invalid("body_unexpected", "", "this path takes no body; use query parameters")
		}
		return nil, nil
	}
	return checkBody(body, rt.body)
}

// checkContentType wants a body that is JSON in UTF-8. What calls itself
// otherwise is read all the same, as `curl -d` calls JSON a form, unless it says
// that it is in parts or in another character set.
//
// A browser has to say application/json: then it asks before it sends a body
// from a page elsewhere, while it sends a form at once, with its cookies and with
// what a proxy adds to them. Browsers send Origin or Sec-Fetch-Site.
func checkContentType(h http.Header) error {
	values := h.Values("Content-Type")
	if len(values) > 1 || len(values) == 1 && strings.Contains(values[0], ",") {
		return budget.Invalid("content_type_unsupported", "content-type", "more than one content type was sent; send Content-Type: application/json once")
	}
	media, params, _ := mime.ParseMediaType(h.Get("Content-Type")) // what is malformed says nothing
	charset, given := params["charset"]
	browser := h["Cookie"] != nil || h["Origin"] != nil || h["Sec-Fetch-Site"] != nil
	if strings.HasPrefix(media, "multipart/") || given && !strings.EqualFold(charset, "utf-8") && !strings.EqualFold(charset, "us-ascii") || browser && media != "application/json" {
		return budget.Invalid("content_type_unsupported", "content-type", "send the body as JSON, with Content-Type: application/json")
	}
	return nil
}
