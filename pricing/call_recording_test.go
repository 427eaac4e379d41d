package pricing_test

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"aigateway/pricing"
)

// mp3 has frames of 128 kbit/s at 44.1 kHz: 417 bytes and 26.1 ms each.
func mp3(frames int) []byte {
	frame := append([]byte("\xff\xfb\x90\x64"), bytes.Repeat([]byte{0x55}, 413)...)
	return bytes.Repeat(frame, frames)
}

// flac has frames of 4,096 samples at 44.1 kHz, whose headers have a right CRC.
func flac(frames int) []byte {
	b := append([]byte("fLaC\x80\x00\x00\x22"), make([]byte, 34)...)
	copy(b[18:], []byte{0x0a, 0xc4, 0x42, 0xf0}) // 44,100 Hz
	for i := range frames {
		head := []byte{0xff, 0xf8, 0xc9, 0x18, byte(i & 0x7f)}
		b = append(b, head...)
		b = append(b, crcOf(head), 0, 0, 0)
	}
	return b
}

func crcOf(b []byte) (crc byte) {
	for _, c := range b {
		for bit := 7; bit >= 0; bit-- {
			top := crc >> 7
			crc = crc<<1 | c>>bit&1
			if top == 1 {
				crc ^= 7
			}
		}
	}
	for range 8 {
		top := crc >> 7
		if crc <<= 1; top == 1 {
			crc ^= 7
		}
	}
	return crc
}

// page is a page of Ogg with one packet for each text.
func page(flags byte, serial uint32, packets ...string) []byte {
	b := append([]byte("OggS\x00"), flags)
	b = append(b, make([]byte, 20)...)
	binary.LittleEndian.PutUint32(b[14:], serial)
	var lacing, data []byte
	for _, p := range packets {
		for n := len(p); ; n -= 255 {
			lacing = append(lacing, byte(min(n, 255)))
			if n < 255 {
				break
			}
		}
		data = append(data, p...)
	}
	b = append(append(append(b, byte(len(lacing))), lacing...), data...)
	var crc uint32
	for _, c := range b {
		crc ^= uint32(c) << 24
		for range 8 {
			if top := crc >> 31; top == 1 {
				crc = crc<<1 ^ 0x04c11db7
			} else {
				crc <<= 1
			}
		}
	}
	binary.LittleEndian.PutUint32(b[22:], crc)
	return b
}

func opus(packets int, toc string) []byte {
	b := append(page(2, 1, "OpusHead\x01\x01\x00\x00"), page(0, 1, "OpusTags")...)
	for range packets {
		b = append(b, page(0, 1, toc+strings.Repeat("x", 300))...)
	}
	return b
}

// seconds is how long a recording counts as, of a model that is billed so.
func seconds(t *testing.T, recording []byte) int64 {
	t.Helper()
	b, err := boundForm(t, mustLoad(t), pricing.Transcriptions, form(t, field{name: "model", text: "openai/whisper-1"}, field{name: "file", data: recording}))
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range b.Lines() {
		if l.Label == "fees" {
			return l.Quantity
		}
	}
	return 0
}

func TestRecordingsAreBoundedByTheirFrames(t *testing.T) {
	vorbis := "\x01vorbis\x00\x00\x00\x00\x01\x44\xac\x00\x00" + strings.Repeat("\x00", 12) + "\xb8\x01"
	for what, tt := range map[string]struct {
		recording   []byte
		least, most int64
	}{
		"wav":                        {wav(90), 90, 91},
		"mp3":                        {mp3(3828), 100, 101}, // 3828 x 26.122 ms
		"mp3 behind a tag":           {append([]byte("ID3\x04\x00\x00\x00\x00\x00\x0a0123456789"), mp3(3828)...), 100, 101},
		"flac of silence":            {flac(1077), 100, 101}, // 1077 x 92.9 ms in 10 KB
		"opus":                       {opus(500, "\x78"), 10, 11},
		"opus of long frames":        {opus(500, "\x1b\x02"), 60, 61}, // 2 x 60 ms
		"vorbis":                     {append(page(2, 7, vorbis), page(0, 7, "\x03", "\x05", "a", "b", "c")...), 1, 1},
		"mp3 with a tag behind it":   {append(mp3(3828), append([]byte("TAG"), make([]byte, 125)...)...), 121, 123}, // its last frame, too, counts by bytes
		"aac by bytes, 25 a second":  {bytes.Repeat(append([]byte("\xff\xf1\x50\x80\x19\x1f\xfc"), make([]byte, 193)...), 250), 2000, 2001},
		"empty":                      {[]byte{}, 0, 0},
		"m4a":                        {m4a(4307, 44_100, 0), 100, 101}, // 4307 x 23.2 ms
		"m4a that says it is longer": {m4a(43, 44_100, 9_000_000), 204, 205},
		"webm of Opus":               {webm(500, "\x78", 0), 10, 11},
		"webm of long frames":        {webm(500, "\x1b\x02", 0), 60, 61},
		"webm with a gap":            {webm(5, "\x78", 30_000), 30, 31},
	} {
		if got := seconds(t, tt.recording); got < tt.least || got > tt.most {
			t.Errorf("%s: %d seconds, want %d to %d", what, got, tt.least, tt.most)
		}
	}
}

// What does not tell its length has none where the model is billed by the second,
// and fills the context elsewhere.
func TestRecordingsWithoutALength(t *testing.T) {
	fragment := append(m4a(43, 44_100, 0), box("moof", "")...)
	laced := bytes.Replace(webm(5, "\x78", 0), []byte("\x81\x00\x00\x80"), []byte("\x81\x00\x00\x86"), 1)
	beyond := bytes.Replace(webm(5, "\x78", 0), []byte("\xec\x83"), []byte("\xec\x9f"), 1)
	for what, recording := range map[string][]byte{
		"fragments":                 fragment,
		"m4a of another codec":      bytes.Replace(m4a(43, 44_100, 0), []byte("mp4a"), []byte("alac"), 1),
		"m4a of Vorbis":             bytes.Replace(m4a(43, 44_100, 0), []byte("\x04\x11\x40"), []byte("\x04\x11\xdd"), 1),
		"m4a of a rate of its own":  bytes.Replace(m4a(43, 44_100, 0), []byte("\x05\x02\x12\x10"), []byte("\x05\x02\x17\x90"), 1),
		"m4a with two tables":       bytes.Replace(m4a(43, 44_100, 0), []byte("smhd"), []byte("stsz"), 1),
		"m4a of another entry":      bytes.Replace(m4a(43, 44_100, 0), []byte("mp4a"+strings.Repeat("\x00", 10)), []byte("mp4a"+strings.Repeat("\x00", 9)+"\x01"), 1),
		"m4a of very many tracks":   tracks(3000),
		"m4a cut":                   m4a(43, 44_100, 0)[:200],
		"webm of Vorbis":            bytes.Replace(webm(5, "\x78", 0), []byte("A_OPUS"), []byte("A_VORB"), 1),
		"webm with laces":           laced,
		"an element beyond another": beyond,
		"webm cut":                  webm(5, "\x78", 0)[:90],
		"ogg with a wrong checksum": append(opus(10, "\x78"), "OggS\x00\x00"+strings.Repeat("\x00", 21)...),
		"a tag beyond the file":     []byte("ID3 and so on"),
		"mp3 in such a tag":         append([]byte("ID3\x04\x00\x00\x7f\x00\x00\x00"), mp3(3828)...),
		"of noise":                  bytes.Repeat([]byte("noise"), 10_000),
		"wav of mp3":                bytes.Replace(wav(1), []byte("\x10\x00\x00\x00\x01\x00"), []byte("\x10\x00\x00\x00\x55\x00"), 1),
	} {
		body := func(model string) string {
			return form(t, field{name: "model", text: model}, field{name: "file", data: recording})
		}
		if _, err := boundForm(t, mustLoad(t), pricing.Transcriptions, body("openai/whisper-1")); err == nil || refusal(t, err).Reason != "unbounded_media" {
			t.Errorf("%s: %v", what, err)
		}
		b, err := boundForm(t, mustLoad(t), pricing.Transcriptions, body("openai/gpt-4o-transcribe"))
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		for _, l := range b.Lines() {
			if l.Label == "input" && l.Quantity != 16_000 {
				t.Errorf("%s: %d tokens, want the context", what, l.Quantity)
			}
		}
	}
}

func box(name, body string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(8+len(body))), name+body...)
}

func be(n ...uint32) string {
	var b []byte
	for _, v := range n {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return string(b)
}

// m4a has samples of AAC-LC; ticks is what it says of its length, 0: the truth.
func m4a(samples, hertz, ticks uint32) []byte {
	if ticks == 0 {
		ticks = samples * 1024
	}
	esds := "\x00\x00\x00\x00\x03\x19\x00\x00\x00\x04\x11\x40" + strings.Repeat("\x00", 12) + "\x05\x02\x12\x10\x06\x01\x02"
	entry := box("mp4a", strings.Repeat("\x00", 28)+string(box("esds", esds)))
	stbl := string(box("stsd", be(0, 1)+string(entry))) + string(box("stts", be(0, 1, samples, 1024))) + string(box("stsz", be(0, 4, samples)))
	mdia := string(box("mdhd", be(0, 0, 0, hertz, ticks, 0))) + string(box("minf", string(box("smhd", be(0, 0, 7)))+string(box("stbl", stbl))))
	trak := string(box("trak", string(box("edts", string(box("elst", be(0, 1, samples, 1024, 0x10000)))))+string(box("mdia", mdia))))
	b := append(box("ftyp", "M4A \x00\x00\x00\x00"), box("moov", string(box("mvhd", be(0, 0, 0, hertz, samples*1024, 0)))+trak)...)
	return append(b, box("mdat", strings.Repeat("\x21\x00\x49\x90", int(samples)))...)
}

// tracks is a file of as many tracks, each of which says that it is longer than any.
func tracks(n int) []byte {
	b := m4a(43, 44_100, 0)
	at := bytes.Index(b, []byte("trak")) - 4
	size := int(binary.BigEndian.Uint32(b[at:]))
	track := bytes.Replace(bytes.Clone(b[at:at+size]), []byte(be(0, 4, 43)), []byte(be(0, 4, 0xffff_ffff)), 1)
	moov := append([]byte{}, b[bytes.Index(b, []byte("moov"))+4:at]...)
	moov = append(moov, bytes.Repeat(track, n)...)
	return append(box("ftyp", "M4A \x00\x00\x00\x00"), box("moov", string(moov))...)
}

// webm has a packet in each block, all of them gap ticks after the first, in
// elements of unknown size, as browsers write them.
func webm(packets int, toc string, gap uint16) []byte {
	element := func(id, body string) string { return id + string([]byte{0x80 | byte(len(body))}) + body }
	const endless = "\x01\xff\xff\xff\xff\xff\xff\xff"
	b := element("\x1a\x45\xdf\xa3", element("\x42\x82", "webm")) + "\x18\x53\x80\x67" + endless +
		element("\x15\x49\xa9\x66", element("\x2a\xd7\xb1", "\x0f\x42\x40")) +
		element("\x16\x54\xae\x6b", element("\xae", element("\x86", "A_OPUS")+element("\xec", "abc"))) +
		"\x1f\x43\xb6\x75" + endless + element("\xe7", "\x00")
	for i := range packets {
		at := "\x00\x00"
		if i > 0 {
			at = string([]byte{byte(gap >> 8), byte(gap)})
		}
		b += element("\xa3", "\x81"+at+"\x80"+toc+strings.Repeat("x", 20))
	}
	return []byte(b)
}

// Whatever the bytes, a bound costs linear time.
func TestRecordingsCostLinearTime(t *testing.T) {
	const size = 8 << 20
	for _, unit := range []string{"\xff", "\xff\xfb\x90\x64", "\xff\xf8", "\xff\xf8\xc9\x18\x00", "OggS", "\xa0\x80", "\x1f\x43\xb6\x75\xff", "\x00\x00\x00\x08free", "ID3\x04\x00\x00\x00\x00\x00\x00"} {
		for _, head := range []string{"", "fLaC\x00\x00\x00\x22" + strings.Repeat("\x01", 34), "OggS\x00", "RIFF", "\x1a\x45\xdf\xa3\x80", "\x00\x00\x00\x08ftyp"} {
			recording := []byte(head + strings.Repeat(unit, size/len(unit)))
			_, err := boundForm(t, mustLoad(t), pricing.Transcriptions, form(t, field{name: "model", text: "openai/whisper-1"}, field{name: "file", data: recording}))
			if err != nil && refusal(t, err).Reason != "unbounded_media" {
				t.Errorf("%q, %q: %v", head, unit, err)
			}
		}
	}
}
