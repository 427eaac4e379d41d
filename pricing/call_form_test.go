package pricing_test

import (
	"bytes"
	"encoding/binary"
	"mime/multipart"
	"net/textproto"
	"strings"
	"testing"

	"aigateway/budget"
	"aigateway/pricing"
)

// wav is an uncompressed recording of so many seconds: 8 kHz, 8 bits.
func wav(seconds int) []byte {
	const rate = 8000
	b := append([]byte("RIFF\xff\xff\xff\xffWAVEfmt "), make([]byte, 28+seconds*rate)...)
	binary.LittleEndian.PutUint32(b[16:], 16)
	binary.LittleEndian.PutUint16(b[20:], 1)
	binary.LittleEndian.PutUint16(b[22:], 1)
	binary.LittleEndian.PutUint32(b[24:], rate)
	binary.LittleEndian.PutUint32(b[28:], rate)
	binary.LittleEndian.PutUint16(b[32:], 1)
	binary.LittleEndian.PutUint16(b[34:], 8)
	copy(b[36:], "data")
	binary.LittleEndian.PutUint32(b[40:], uint32(seconds*rate))
	return b
}

// boundary is that of every form here.
const boundary = "form-boundary.17"

// field is a part of a form; a file where it has data.
type field struct {
	name, text string
	data       []byte
}

// form writes fields with Go's own writer.
func form(t testing.TB, fields ...field) string {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	if err := w.SetBoundary(boundary); err != nil {
		t.Fatal(err)
	}
	for _, f := range fields {
		head := textproto.MIMEHeader{"Content-Disposition": {`form-data; name="` + f.name + `"`}}
		if f.data != nil {
			head = textproto.MIMEHeader{"Content-Disposition": {`form-data; name="` + f.name + `"; filename="a.wav"`}, "Content-Type": {"application/octet-stream"}}
			f.text = string(f.data)
		}
		part, err := w.CreatePart(head)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := part.Write([]byte(f.text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func parseForm(t testing.TB, e pricing.Endpoint, body string) (*pricing.Call, error) {
	t.Helper()
	return pricing.ParseForm(t.Context(), e, boundary, []byte(body))
}

// boundForm is what a form can cost at most.
func boundForm(t testing.TB, c *pricing.Catalog, e pricing.Endpoint, body string) (*pricing.Bound, error) {
	t.Helper()
	call, err := parseForm(t, e, body)
	if err != nil {
		return nil, err
	}
	m, err := c.Resolve(call.Model, noon())
	if err != nil {
		return nil, err
	}
	return m.Bound(call, noon())
}

func TestFormsAreReadAsTheirMembers(t *testing.T) {
	c := mustLoad(t)
	body := form(t, field{name: "model", text: "openai/whisper-1"}, field{name: "file", data: wav(61)}, field{name: "timestamp_granularities[]", text: "word"},
		field{name: "timestamp_granularities[]", text: "segment"}, field{name: "prompt", text: "123"}, field{name: "x", text: "anything"})
	b, err := boundForm(t, c, pricing.Transcriptions, body)
	if err != nil {
		t.Fatal(err)
	}
	if want := dollars(t, "0.0062"); b.Amount != want { // 62 x 100 micro-USD: the header counts as sound
		t.Errorf("bound is %s, want %s", b.Amount, want)
	}
	if got, want := apply(t, body, b.Edits), strings.Replace(body, "openai/whisper-1", "whisper-1", 1); got != want {
		t.Errorf("edited to %q", short(got))
	}
	long := strings.Replace(body, `name="model"`, "name=\"model\"\r\nContent-Length:  16  \r\nContent-Type: text/plain", 1)
	if b, err = boundForm(t, c, pricing.Transcriptions, long); err != nil {
		t.Fatal(err)
	}
	if got, want := apply(t, long, b.Edits), strings.NewReplacer("openai/whisper-1", "whisper-1", "16  ", "9  ").Replace(long); got != want {
		t.Errorf("edited to %q", short(got))
	}
	images := form(t, field{name: "model", text: "openai/gpt-image-2"}, field{name: "prompt", text: "a hat"}, field{name: "n", text: "2"}, field{name: "quality", text: "low"},
		field{name: "size", text: "1024x1024"}, field{name: "image[]", data: []byte("x")}, field{name: "image[]", data: []byte("y")}, field{name: "mask", data: []byte("z")}, field{name: "stream", text: "true"})
	if b, err = boundForm(t, c, pricing.ImageEdits, images); err != nil {
		t.Fatal(err)
	}
	text := int64(len("openai/gpt-image-2") + len("a hat") + len("2") + len("low") + len("1024x1024") + len("true"))
	if want := tokensAt(text+100+3*2000, 8_000_000, 2*196, 30_000_000); b.Amount != want {
		t.Errorf("bound is %s, want %s: %+v", b.Amount, want, b.Lines())
	}
}

// Each is a form that some parser reads otherwise than another one.
func TestFormsThatLeaveADoubt(t *testing.T) {
	const cr, b = "\r\n", "--" + boundary
	part := func(head, text string) string { return b + cr + head + cr + cr + text + cr }
	name := func(n string) string { return `Content-Disposition: form-data; name="` + n + `"` }
	model, file := part(name("model"), "openai/whisper-1"), part(name("file")+`; filename="a.wav"`, string(wav(1)))
	end := b + "--" + cr
	for what, body := range map[string]string{
		"sound":                          model + file + end,
		"sound, without a last line end": model + file + b + "--",
		"sound, as .NET writes it":       part("Content-Disposition: form-data; name=model", "openai/whisper-1") + part(`Content-Disposition: form-data; name=file; filename=a.wav; filename*=utf-8''a.wav`, string(wav(1))) + end,
		"sound, as .NET writes a space":  part("Content-Disposition: form-data; name=model", "openai/whisper-1") + part(`Content-Disposition: form-data; name=file; filename="my (1) file.wav"; filename*=utf-8''my%20%281%29%20file.wav`, string(wav(1))) + end,
		"sound, as .NET writes é":        part("Content-Disposition: form-data; name=model", "openai/whisper-1") + part(`Content-Disposition: form-data; name=file; filename="=?utf-8?B?w6kud2F2?="; filename*=utf-8''%C3%A9.wav`, string(wav(1))) + end,
		"sound, as Apache writes it":     part(name("model")+cr+"Content-Type: text/plain; charset=ISO-8859-1"+cr+"Content-Transfer-Encoding: 8bit", "openai/whisper-1") + file + end,
		"sound, as Retrofit writes it":   part(name("model")+cr+"Content-Transfer-Encoding: binary"+cr+"Content-Type: text/plain; charset=UTF-8"+cr+"Content-Length: 16", "openai/whisper-1") + file + end,
	} {
		if _, err := parseForm(t, pricing.Transcriptions, body); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, body := range map[string]string{
		"nothing":                          "",
		"JSON":                             `{"model":"openai/whisper-1"}`,
		"no final boundary":                model + file,
		"half a final boundary":            model + file + b + "-",
		"a preamble":                       "hello" + cr + model + file + end,
		"a line end first":                 cr + model + file + end,
		"an epilogue":                      model + file + end + "bye",
		"a second end":                     model + end + file + end,
		"blanks behind a boundary":         b + "  " + cr + name("model") + cr + cr + "openai/whisper-1" + cr + file + end,
		"a longer boundary":                part(name("model"), "openai/whisper-1") + b + "x" + cr + name("model") + cr + cr + "openai/tts-1" + cr + file + end,
		"LF for CRLF":                      strings.ReplaceAll(model+file+end, cr, "\n"),
		"LF within a head":                 b + cr + name("model") + "\n" + "X: y" + cr + cr + "openai/whisper-1" + cr + file + end,
		"a boundary behind LF":             model + part(name("prompt"), "a\n"+b+cr+name("model")+cr+cr+"b") + file + end,
		"a boundary in a line":             model + part(name("prompt"), "a "+b) + file + end,
		"a name twice":                     model + model + file + end,
		"a file twice":                     model + file + file + end,
		"a name in another case":           model + part(name("Model"), "openai/gpt-4o-transcribe") + file + end,
		"a name as a list":                 model + part(name("model[]"), "openai/gpt-4o-transcribe") + file + end,
		"a name in brackets":               model + part(name("file[x]")+`; filename="a.wav"`, "x") + file + end,
		"a list with brackets and without": model + file + part(name("language"), "en") + part(name("keywords"), "a") + part(name("keywords[]"), "b") + end,
		"two names":                        part(name("model")+`; name="prompt"`, "openai/whisper-1") + file + end,
		"another name, encoded":            part(name("model")+"; name*=utf-8''prompt", "openai/whisper-1") + file + end,
		"two file names":                   model + part(name("file")+`; filename="a.wav"; filename="b.mp3"`, "x") + end,
		"two file names that differ":       model + part(name("file")+`; filename="a.wav"; filename*=utf-8''b.mp3`, "x") + end,
		"a file name that is only encoded": model + part(name("file")+`; filename*=utf-8''a.wav`, "x") + end,
		"an escape in a name":              part(`Content-Disposition: form-data; name="mo\del"`, "openai/whisper-1") + file + end,
		"a name in percent":                part(name("mod%65l"), "openai/whisper-1") + file + end,
		"no name":                          part("Content-Disposition: form-data", "openai/whisper-1") + model + file + end,
		"an attachment":                    part(`Content-Disposition: attachment; name="prompt"`, "x") + model + file + end,
		"no disposition":                   part("Content-Type: text/plain", "x") + model + file + end,
		"no head":                          b + cr + cr + "x" + cr + model + file + end,
		"a folded head":                    part(`Content-Disposition: form-data;`+cr+` name="model"`, "openai/whisper-1") + file + end,
		"a head twice":                     part(name("prompt")+cr+name("model"), "openai/whisper-1") + file + end,
		"a blank before the colon":         part(`Content-Disposition : form-data; name="model"`, "openai/whisper-1") + file + end,
		"base64":                           part(name("model")+cr+"Content-Transfer-Encoding: base64", "b3BlbmFpL3doaXNwZXItMQ==") + file + end,
		"quoted-printable":                 part(name("model")+cr+"Content-Transfer-Encoding: quoted-printable", "openai/whisper-1") + file + end,
		"an encoding":                      part(name("model")+cr+"Content-Encoding: gzip", "openai/whisper-1") + file + end,
		"a form within":                    model + part(name("file")+`; filename="a.wav"`+cr+"Content-Type: multipart/mixed; boundary=x", "--x") + end,
		"another character set":            part(name("model")+cr+"Content-Type: text/plain; charset=utf-16", "openai/whisper-1") + file + end,
		"a character set of no text":       model + part(name("prompt")+cr+"Content-Type: application/x; charset=iso-8859-1", "é") + file + end,
		"ISO-8859-1 beyond ASCII":          model + part(name("prompt")+cr+"Content-Type: text/plain; charset=ISO-8859-1", "\xe9") + file + end,
		"two file names, one damaged":      model + part(name("file")+`; filename="%zz.wav"; filename*=utf-8''%zz.wav`, "x") + end,
		"two file names of two languages":  model + part(name("file")+`; filename="a.wav"; filename*=iso-8859-1''a.wav`, "x") + end,
		"a character set behind another":   model + part(name("prompt")+cr+"Content-Type: application/x; a=b; charset*=utf-16", "x") + file + end,
		"a file without a name":            model + part(name("file")+`; filename=""`, string(wav(1))) + end,
		"a character set for all":          model + part(name("_charset_"), "utf-7") + file + end,
		"another length":                   part(name("model")+cr+"Content-Length: 5", "openai/whisper-1") + file + end,
		"bad UTF-8":                        model + part(name("prompt"), "\xff") + file + end,
		"a field as a file":                part(name("model")+`; filename="m.txt"`, "openai/whisper-1") + file + end,
		"a file that nobody asked for":     model + file + part(name("other")+`; filename="a.wav"`, "x") + end,
		"a truth that is a word":           model + file + part(name("stream"), "True") + end,
		"no model":                         file + end,
	} {
		if _, err := parseForm(t, pricing.Transcriptions, body); err == nil {
			t.Errorf("%s: it is read", what)
		} else if e := refusal(t, err); e.Message == "" {
			t.Errorf("%s: %+v", what, e)
		}
	}
	if _, err := parseForm(t, pricing.Chat, model+end); err == nil || refusal(t, err).Reason != "content_type_unsupported" {
		t.Errorf("a form for chat: %v", err)
	}
}

func TestFormBoundaries(t *testing.T) {
	for kind, want := range map[string]string{
		"multipart/form-data; boundary=abc": "abc", `Multipart/Form-Data;boundary="a-b.c"`: "a-b.c", "multipart/form-data; charset=utf-8; boundary=x": "x",
		"application/json": "", "multipart/mixed; boundary=a": "", "": "",
	} {
		if got, err := pricing.FormBoundary([]byte(kind)); err != nil || got != want {
			t.Errorf("%s: %q, %v", kind, got, err)
		}
	}
	for _, kind := range []string{
		"multipart/form-data", "multipart/form-data; boundary=", `multipart/form-data; boundary=""`, "multipart/form-data; boundary=a; boundary=b", "multipart/form-data; boundary=a;BOUNDARY=b",
		"multipart/form-data; boundary=a b", "multipart/form-data; boundary=a,b", "multipart/form-data; boundary*=utf-8''a", "multipart/form-data; boundary=a; x=y", "multipart/form-data; boundary=a; charset=utf-16",
		`multipart/form-data; boundary="a\"b"`, "multipart/form-data; boundary=" + strings.Repeat("a", 71), "multipart/form-data; boundary=a/b", "multipart/form-data; boundary= a", `multipart/form-data; boundary="a`,
	} {
		if got, err := pricing.FormBoundary([]byte(kind)); err == nil {
			t.Errorf("%s: %q", kind, got)
		}
	}
}

// What only a form cannot say has no bound; it passes where no budget watches.
func TestRecordingsElsewhere(t *testing.T) {
	c := mustLoad(t)
	for _, body := range []string{
		`{"model":"openai/whisper-1"}`, `{"model":"groq/whisper-large-v3","url":"https://example.com/a.mp3"}`, `{"model":"mistral/voxtral-mini-latest","file_url":"https://example.com/a.mp3"}`,
		`{"model":"openai/whisper-1","file":"data"}`,
	} {
		q, err := c.Quote(t.Context(), pricing.Query{Endpoint: pricing.Transcriptions, Body: []byte(body), At: noon()}, nil)
		if err != nil || q.Unbounded == nil || q.Unbounded.Reason != "unbounded_media" {
			t.Errorf("%s: %v, %+v", body, err, q.Unbounded)
		}
		if strings.Contains(body, "voxtral") { // what the report says is what it cost
			ev := pricing.Evidence{Sent: true, Status: 200, Done: true, Output: true, Usage: `{"prompt_audio_seconds":61,"prompt_tokens":4,"total_tokens":400,"completion_tokens":396}`}
			if out := pricing.Charge(q.Bound.Pin, 0, ev, nil); out.Basis != budget.BasisUsage || out.Cost != dollars(t, "0.00305") {
				t.Errorf("without a bound it costs %+v", out)
			}
		}
	}
	one := form(t, field{name: "model", text: "openai/whisper-1"}, field{name: "file", data: wav(1)}, field{name: "file_id", text: "f"})
	if _, err := boundForm(t, c, pricing.Transcriptions, one); err == nil || refusal(t, err).Reason != "unbounded_media" {
		t.Errorf("a file and an id: %v", err)
	}
}

// A form costs no more than linear time, whatever is in it.
func TestFormsCostLinearTime(t *testing.T) {
	const size = 8 << 20
	cr, b := "\r\n", "--"+boundary
	for what, body := range map[string]string{
		"boundaries without a line end": b + cr + strings.Repeat(b, size/len(b)),
		"line ends":                     b + cr + strings.Repeat(cr, size/2),
		"many parts":                    strings.Repeat(b+cr+`Content-Disposition: form-data; name="a"`+cr+cr+cr, size/70) + b + "--",
		"one endless head":              b + cr + "Content-Disposition: " + strings.Repeat("a;", size/2),
		"a long field":                  b + cr + `Content-Disposition: form-data; name="prompt"` + cr + cr + strings.Repeat("a", size) + cr + b + "--",
	} {
		if _, err := parseForm(t, pricing.Transcriptions, body); err == nil {
			t.Errorf("%s: it is read", what)
		}
	}
}

func FuzzParseForm(f *testing.F) {
	f.Add(form(f, field{name: "model", text: "openai/whisper-1"}, field{name: "file", data: wav(1)}))
	f.Add(form(f, field{name: "model", text: "openai/gpt-image-2"}, field{name: "image[]", data: []byte("x")}, field{name: "n", text: "2"}))
	f.Fuzz(func(t *testing.T, body string) {
		call, err := pricing.ParseForm(t.Context(), pricing.ImageEdits, boundary, []byte(body))
		if err != nil {
			return
		}
		// Go's own reader finds the same model, once.
		r := multipart.NewReader(strings.NewReader(body), boundary)
		values, err := r.ReadForm(1 << 20)
		if err != nil {
			t.Fatalf("read here, and not by Go: %v\n%q", err, body)
		}
		if got := values.Value["model"]; len(got) != 1 || got[0] != call.Model {
			t.Fatalf("model %q here, %q by Go: %q", call.Model, got, body)
		}
	})
}
