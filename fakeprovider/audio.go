package fakeprovider

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// speechRequest is a text to be spoken.
type speechRequest struct {
	input, format string
	events        bool
}

func (c *call) readSpeech() (speechRequest, *refusal) {
	var req speechRequest
	m, bad := c.members()
	if bad == nil {
		bad = c.model(m)
	}
	if bad != nil {
		return req, bad
	}
	req.format = "mp3"
	stream := ""
	for name, to := range map[string]any{"input": &req.input, "response_format": &req.format, "stream_format": &stream} {
		if bad := m.read(name, to); bad != nil {
			return req, bad
		}
	}
	if n := utf8.RuneCountInString(req.input); n == 0 || n > 4096 {
		return req, invalid("input", "'input' must have 1 to 4096 characters.")
	}
	req.events = stream == "sse"
	c.record.Stream = req.events
	return req, nil
}

// speechTokens is how many audio tokens a model's longest answer has.
const speechTokens = 16384

func (c *call) serveSpeech() {
	req, bad := c.readSpeech()
	if bad != nil {
		c.refuse(*bad)
		return
	}
	if !c.misbehave("input", req.input) {
		return
	}
	out := 2 * int64(len(req.input))
	use := tokens{prompt: textTokens(req.input), completion: out, mediaOut: out}
	if c.faults.Max {
		use = tokens{prompt: int64(len(req.input)), completion: speechTokens, mediaOut: speechTokens}
	}
	if c.server.cfg.Models[c.record.Model].Character > 0 {
		use = tokens{characters: int64(utf8.RuneCountInString(req.input))}
	}
	if !c.beginOrBill(use) {
		return
	}
	if req.events {
		c.streamSpeech(use)
		return
	}
	c.bill(use)
	c.w.Header().Set("Content-Type", "audio/"+map[string]string{"mp3": "mpeg"}[req.format]+map[bool]string{true: "", false: req.format}[req.format == "mp3"])
	c.deliver(sound(req.format, 1000+len(req.input)))
}

// sound begins as a file of the format does, and is none.
func sound(format string, size int) []byte {
	head := map[string]string{"mp3": "\xff\xfb\x90\x64", "opus": "OggS\x00", "aac": "\xff\xf1\x50\x80", "flac": "fLaC\x00", "wav": "RIFF\xff\xff\xff\xffWAVE"}[format]
	out := append(make([]byte, 0, size), head...)
	for len(out) < size {
		out = append(out, byte(len(out)*7))
	}
	return out
}

func (c *call) streamSpeech(use tokens) {
	s := c.newStream(plan{})
	s.serve(func() {
		data := sound("pcm", 3000)
		for len(data) > 0 {
			n := min(1000, len(data))
			if !s.chunk("", map[string]string{"type": "speech.audio.delta", "audio": base64.StdEncoding.EncodeToString(data[:n])}) {
				return
			}
			data = data[n:]
		}
		done := map[string]any{"type": "speech.audio.done"}
		if !c.faults.NoUsage {
			done["usage"] = map[string]int64{"input_tokens": use.prompt, "output_tokens": use.completion, "total_tokens": use.prompt + use.completion}
		}
		if !c.faults.NoDone {
			s.chunk("", done)
		}
	})
	c.bill(use)
}

// hearing is a recording to write down.
type hearing struct {
	seconds        int64 // of the recording, rounded up
	prompt, format string
	stream         bool
}

func (c *call) readHearing() (hearing, *refusal) {
	var req hearing
	m, files, bad := c.form()
	if bad == nil {
		bad = c.model(m)
	}
	if bad != nil {
		return req, bad
	}
	for name, to := range map[string]any{"prompt": &req.prompt, "response_format": &req.format, "stream": &req.stream} {
		if bad := m.read(name, to); bad != nil {
			return req, bad
		}
	}
	c.record.Stream = req.stream
	if len(files["file"]) != 1 {
		return req, invalid("file", "Missing required parameter: 'file'.")
	}
	seconds, ok := wavSeconds(files["file"][0].data)
	if !ok {
		return req, invalid("file", "Audio file might be corrupted or unsupported.")
	}
	req.seconds = seconds
	return req, nil
}

// wavSeconds is the length of an uncompressed wav, the one format that the fake
// can play.
func wavSeconds(b []byte) (int64, bool) {
	if len(b) < 44 || string(b[:4]) != "RIFF" || string(b[8:16]) != "WAVEfmt " {
		return 0, false
	}
	rate := int64(binary.LittleEndian.Uint32(b[28:]))
	if rate <= 0 {
		return 0, false
	}
	return (int64(len(b)-44) + rate - 1) / rate, true
}

func (c *call) serveTranscription() {
	req, bad := c.readHearing()
	if bad != nil {
		c.refuse(*bad)
		return
	}
	if !c.misbehave("prompt", req.prompt) {
		return
	}
	audio := 10 * req.seconds
	use := tokens{prompt: audio + textTokens(req.prompt), mediaIn: audio, completion: 3 * req.seconds}
	if c.faults.Max {
		audio = min(40*req.seconds, 15_000)
		use = tokens{prompt: audio + int64(len(req.prompt)), mediaIn: audio, completion: 2000}
	}
	if c.server.cfg.Models[c.record.Model].Second > 0 {
		use = tokens{seconds: req.seconds}
	}
	if !c.beginOrBill(use) {
		return
	}
	if req.stream && use.seconds == 0 {
		c.streamTranscript(use)
		return
	}
	c.bill(use)
	switch text := c.transcript(use); req.format {
	case "text", "srt", "vtt":
		c.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		c.deliver([]byte(text + "\n"))
	default:
		c.deliverJSON(struct {
			Text     string          `json:"text"`
			Duration *float64        `json:"duration,omitempty"`
			Usage    json.RawMessage `json:"usage,omitempty"`
		}{text, nil, c.hearingReport(use)})
	}
}

func (c *call) transcript(use tokens) string {
	return "so" + strings.Repeat(" it goes", int(min(100, use.seconds+use.completion)))
}

func (c *call) hearingReport(use tokens) json.RawMessage {
	switch {
	case c.faults.NoUsage:
		return nil
	case c.faults.BadUsage:
		return json.RawMessage(`{"type":"tokens","input_tokens":"many"}`)
	case use.seconds > 0 && c.server.cfg.Dialect == Mistral:
		return fmt.Appendf(nil, `{"prompt_audio_seconds":%d,"prompt_tokens":4,"completion_tokens":9,"total_tokens":13}`, use.seconds)
	case use.seconds > 0:
		return fmt.Appendf(nil, `{"type":"duration","seconds":%d}`, use.seconds)
	}
	return fmt.Appendf(nil, `{"type":"tokens","input_tokens":%d,"input_token_details":{"text_tokens":%d,"audio_tokens":%d},"output_tokens":%d,"total_tokens":%d}`,
		use.prompt, use.prompt-use.mediaIn, use.mediaIn, use.completion, use.prompt+use.completion)
}

func (c *call) streamTranscript(use tokens) {
	s := c.newStream(plan{})
	s.serve(func() {
		text := c.transcript(use)
		for i := 0; i < len(text); i += 8 {
			if !s.chunk("", map[string]string{"type": "transcript.text.delta", "delta": text[i:min(len(text), i+8)]}) {
				return
			}
		}
		done := map[string]any{"type": "transcript.text.done", "text": text}
		if report := c.hearingReport(use); report != nil {
			done["usage"] = report
		}
		if !c.faults.NoDone {
			s.chunk("", done)
		}
	})
	c.bill(use)
}
