package pricing

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	stdimage "image"
	"image/jpeg"
	"image/png"
	"io"
	"strings"

	"golang.org/x/image/webp"
)

// image is one image part. Width and height are 0 when the header could not
// be read or the image is elsewhere.
type image struct {
	width, height int64
	high          bool   // detail is high or low
	field         string // of the first image; a body may hold very many
}

// audio is one audio part; millis is the longest it can last. endless: nobody knows.
type audio struct {
	millis  int64
	endless bool
	field   string
}

// part reads one element of a message's content. It decides by the members
// that are present, not only by the type: a lenient provider may do the same.
func (p *parser) part(int) error {
	switch p.dec.PeekKind() {
	case '"':
		return p.dec.SkipValue()
	case '{':
	default:
		return p.wrongType("an object with a type")
	}
	kind, err := "", error(nil)
	err = p.object(func(name []byte) error {
		id, err := p.find(partObject, name)
		switch id {
		case isType:
			kind, err = p.text()
		case isImageURL:
			return p.imageURL()
		case isInputAudio:
			return p.inputAudio()
		case isFile:
			return p.chatFile()
		case isTools:
			return p.innerTools()
		}
		return err
	})
	if err != nil {
		return err
	}
	switch kind {
	case "text", "image_url", "input_audio", "file", "refusal", "thinking", "reasoning", "redacted_thinking", "input_text", "output_text":
		return nil
	case "":
		return p.invalid("has no type; write text or image_url")
	}
	if p.call.unbounded != nil {
		return nil // only the first reason is kept
	}
	field := p.path()
	p.call.refuse("unbounded_media", field+".type", fmt.Sprintf("%s.type is %q, which has no bound; use text or image_url", field, clip(kind)))
	return nil
}

// chatFile reads {"file_data": …, "filename": …}.
func (p *parser) chatFile() error {
	switch p.dec.PeekKind() {
	case 'n':
		return p.dec.SkipValue()
	case '{':
	default:
		return p.wrongType("an object with file_data")
	}
	return p.object(func(name []byte) error {
		id, err := p.find(fileObject, name)
		if id == isFileData {
			return p.fileData()
		}
		return err
	})
}

// imageURL reads {"url": …, "detail": …}, or the URL itself.
func (p *parser) imageURL() error {
	var img image
	var url []byte
	k := p.dec.PeekKind()
	if k == 'n' {
		return p.dec.SkipValue()
	}
	if k != '"' && k != '{' {
		return p.wrongType("an object with url")
	}
	if len(p.call.images) == 0 {
		img.field = p.path()
	}
	var err error
	if k == '"' {
		url, err = p.media()
	} else {
		err = p.object(func(name []byte) error {
			id, err := p.find(imageObject, name)
			switch id {
			case isURL:
				url, err = p.media()
			case isDetail:
				detail, err := p.text()
				img.high = boundedDetail(detail)
				return err
			}
			return err
		})
	}
	if err != nil {
		return err
	}
	if len(url) >= 5 && bytes.EqualFold(url[:5], []byte("data:")) {
		p.dataURL(&img, url)
	}
	p.call.images = append(p.call.images, img)
	if !img.high && p.call.vague == "" {
		p.call.vague = p.path()
	}
	return nil
}

// media reads a string that may be megabytes long, without copying it.
func (p *parser) media() ([]byte, error) {
	if p.dec.PeekKind() != '"' {
		return nil, p.wrongType("a string")
	}
	raw, err := p.dec.ReadValue()
	if err != nil {
		return nil, err
	}
	return unquote(raw)
}

func (p *parser) dataURL(img *image, url []byte) {
	head, data, ok := bytes.Cut(url, []byte(","))
	mime, encoding, _ := strings.Cut(string(head[len("data:"):]), ";")
	if !imageMIME(mime) {
		p.call.refuse("unbounded_media", "messages", fmt.Sprintf("messages holds an image_url of type %q; send png, jpeg, gif or webp", clip(mime)))
		return
	}
	if !ok || !strings.EqualFold(encoding, "base64") || !isBase64(data) {
		return // counted as text and as an image
	}
	p.call.payload += int64(len(data))
	if cfg, err := imageHeader(data); err == nil {
		img.width, img.height = int64(cfg.Width), int64(cfg.Height)
	}
}

func isBase64(s []byte) bool {
	for _, c := range s {
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && c != '+' && c != '/' && c != '=' && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// imageHeader reads the dimensions and decodes nothing else. It knows none of a
// GIF: its frames may be larger than the screen its header names, and decoders
// such as Pillow then take the size of the frame.
func imageHeader(data []byte) (stdimage.Config, error) {
	var magic [12]byte
	_, err := io.ReadFull(base64.NewDecoder(base64.StdEncoding, bytes.NewReader(data)), magic[:])
	if err != nil {
		return stdimage.Config{}, err
	}
	r := base64.NewDecoder(base64.StdEncoding, bytes.NewReader(data))
	switch {
	case bytes.HasPrefix(magic[:], []byte("\x89PNG")):
		return png.DecodeConfig(r)
	case bytes.HasPrefix(magic[:], []byte("\xff\xd8")):
		return jpeg.DecodeConfig(r)
	case bytes.HasPrefix(magic[:], []byte("RIFF")) && string(magic[8:]) == "WEBP":
		return webp.DecodeConfig(r)
	}
	return stdimage.Config{}, fmt.Errorf("no known image format")
}

// tokens is the most input tokens the image can take.
func (img image) tokens(r *imageRule) int64 {
	most := r.most
	if img.high && r.high > 0 {
		most = r.high
	}
	if r.patch == 0 || img.width <= 0 || img.height <= 0 {
		return most
	}
	patches := ((img.width + r.patch - 1) / r.patch) * ((img.height + r.patch - 1) / r.patch)
	if r.perUnit != nil {
		patches = r.perUnit.ceil(patches)
	}
	const frame = 100 // markers around an image
	if patches > most-frame {
		return most
	}
	return patches + frame
}

// inputAudio reads {"data": base64, "format": …}, or as Mistral has it the base64
// itself, which may be a data URL.
func (p *parser) inputAudio() error {
	a := audio{field: p.path()}
	var data []byte
	var err error
	switch p.dec.PeekKind() {
	case '"':
		data, err = p.media()
		if payload, isURL := bytes.CutPrefix(data, []byte("data:")); isURL {
			_, data, _ = bytes.Cut(payload, []byte(";base64,"))
		}
	case '{':
		err = p.object(func(name []byte) error {
			id, err := p.find(audioObject, name)
			if id == isData {
				data, err = p.media()
			}
			return err
		})
	default:
		return p.wrongType("an object with data and format, or a string of base64")
	}
	if err != nil {
		return err
	}
	raw, derr := base64.StdEncoding.AppendDecode(nil, data)
	if derr == nil {
		a.millis, derr = longestAudio(raw)
	}
	if derr != nil {
		p.call.refuse("unbounded_media", a.field, fmt.Sprintf("%s has no bound: its length cannot be read; send base64 of an mp3 or of an uncompressed wav with one format", a.field))
		return nil
	}
	p.call.payload += int64(len(data))
	p.call.audios = append(p.call.audios, a)
	return nil
}

// longestAudio bounds a recording's length in milliseconds by its bytes: an
// mp3 frame has at least 8 kbit/s, an uncompressed wav what its header says of
// one sample. Decoders disagree on whether the frame's size there or its samples
// decide; the slower counts.
func longestAudio(b []byte) (int64, error) {
	const slowest = 1000                                                   // bytes a second
	if m := afterID3(b); len(m) > 2 && m[0] == 0xff && m[1]&0xe6 == 0xe2 { // sync word and layer
		return (int64(len(b))*1000 + slowest - 1) / slowest, nil
	}
	if len(b) < 44 || string(b[:4]) != "RIFF" || string(b[8:16]) != "WAVEfmt " || bytes.Count(b, []byte("fmt ")) > 1 {
		return 0, fmt.Errorf("no mp3, or no wav with one format")
	}
	word := func(at int) int64 { return int64(binary.LittleEndian.Uint16(b[at:])) }
	format, channels, align, bits := word(20), word(22), word(32), word(34)
	perSecond := int64(binary.LittleEndian.Uint32(b[24:])) * min(align, channels*((bits+7)/8))
	if format != 1 && format != 3 || perSecond == 0 {
		return 0, fmt.Errorf("no uncompressed wav")
	}
	return (int64(len(b))*1000 + perSecond - 1) / perSecond, nil
}

// afterID3 is what follows the tags at the beginning and their padding, which
// decides what a decoder takes the file for: a tag may stand before any format.
// One that would end after the file is left: where decoders go on is anybody's guess.
// https://id3.org/id3v2.4.0-structure
func afterID3(b []byte) []byte {
	const header, footer = 10, 0x10
	for len(b) >= header && string(b[:3]) == "ID3" {
		size := header + int(b[6]&127)<<21 + int(b[7]&127)<<14 + int(b[8]&127)<<7 + int(b[9]&127)
		if b[5]&footer != 0 {
			size += header
		}
		if size > len(b) {
			return b
		}
		b = bytes.TrimLeft(b[size:], "\x00")
	}
	return b
}
