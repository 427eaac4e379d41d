package envoy_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What an answer is, its bytes say: not its content-type, nor its
// content-encoding.
func TestFramingIsReadFromTheBytes(t *testing.T) {
	v := newVM(t)
	const bom = "\xef\xbb\xbf"
	document := `{"id":"c","model":"m","choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}],"usage":` + use + `}`
	events := `data: {"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":"stop"}]}` + "\n\n" +
		`data: {"id":"c","model":"m","choices":[],"usage":` + use + `}` + "\n\n"
	read := map[string]any{"usage": use, "first_usage": use, "model": `"m"`, "done": true, "output": true, "id": "c", "framing": "json"}
	streamed := map[string]any{"usage": use, "first_usage": use, "model": `"m"`, "done": true, "output": true, "id": "c", "framing": "events", "finished": 1}
	unread := map[string]any{"unread": true}
	for name, tt := range map[string]struct {
		body string
		want map[string]any
	}{
		"a document":                         {document, read},
		"a document, then the end mark":      {document + "\n\ndata: [DONE]\n\n", read},
		"a document after blanks":            {" \r\n\t\n" + document, read},
		"a document after a byte order mark": {bom + document, read},
		"events":                             {events + "data: [DONE]\n\n", streamed},
		"events after a byte order mark":     {bom + events + "data: [DONE]\n\n", streamed},
		"events after blank lines":           {"\n\r\n" + events + "data:[DONE]\n\n", streamed},
		"events after a comment":             {": hi\n\n" + events + "data: [DONE]\n\n", streamed},
		"events with names":                  {strings.ReplaceAll(events, "data:", "event: x\nid: 1\nretry: 5\ndata:") + "data: [DONE]\n\n", streamed},
		"gzip":                               {"\x1f\x8b\x08\x00" + document, unread},
		"zstd":                               {"\x28\xb5\x2f\xfd" + document, unread},
		"gzip, packed":                       {packed(t, document), read},
		"gzip, packed events":                {packed(t, events+"data: [DONE]\n\n"), streamed},
		"gzip, and zeros":                    {packed(t, document) + "\x00\x00\x00", read},
		"zlib, packed":                       {zlibbed(t, document), read},
		"zlib, packed events":                {zlibbed(t, events+"data: [DONE]\n\n"), streamed},
		"zlib that is none":                  {"x\x9c" + document, unread},
		"events of carriage returns":         {strings.ReplaceAll(events, "\n", "\r") + "data: [DONE]\r\r", streamed},
		"gzip of nothing":                    {packed(t, ""), unread},
		"gzip of gzip":                       {packed(t, packed(t, document)), unread},
		"gzip that is cut":                   {packed(t, document)[:15], unread},
		"a page":                             {"<html>" + document, unread},
		"UTF-16":                             {"\xff\xfe{\x00}\x00", unread},
		"blanks":                             {" \n\r\n", map[string]any{}},
	} {
		for _, kind := range []string{sse, "text/plain", jsn, ""} {
			for _, encoding := range []string{"", "gzip"} {
				for _, size := range []int{len(tt.body), 1, 7} {
					headers := map[string]any{":status": "200", "content-type": kind}
					if encoding != "" {
						headers["content-encoding"] = encoding
					}
					h, err := v.call("envoy_on_response", map[string]any{"rsv": "t"}, headers, nil, chop(tt.body, size))
					if err != nil {
						t.Fatal(err)
					}
					got := v.answer(h)
					if diff := cmp.Diff(tt.want, got.Report); diff != "" {
						t.Fatalf("%s as %q, %q, by %d: report (-want +got):\n%s", name, kind, encoding, size, diff)
					}
					if got.Body != tt.body {
						t.Fatalf("%s as %q: body %q", name, kind, got.Body)
					}
				}
			}
		}
	}
}

// The chunk the client did not ask for is dropped whatever the answer calls
// itself; a document has none.
func TestStripFollowsTheBytes(t *testing.T) {
	v := newVM(t)
	rest := "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n"
	for _, kind := range []string{sse, jsn, "text/plain", ""} {
		for _, bom := range []string{"", "\xef\xbb\xbf"} {
			body := bom + rest + "data: {\"choices\":[],\"usage\":" + use + "}\n\ndata: [DONE]\n\n"
			for _, size := range []int{len(body), 1, 9} {
				if got := v.respond(kind, true, chop(body, size)...); got.Body != bom+rest+"data: [DONE]\n\n" || got.Report["done"] != true {
					t.Errorf("%s by %d: %q %v", kind, size, got.Body, got.Report)
				}
			}
		}
		document := `{"choices":[],"usage":` + use + `}`
		if got := v.respond(kind, true, document+"\n\n"); got.Body != document+"\n\n" {
			t.Errorf("%s: a document came out as %q", kind, got.Body)
		}
	}
}
