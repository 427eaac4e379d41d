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
		"wav":                 {wav(90), 90, 91},
		"mp3":                 {mp3(3828), 100, 101}, // 3828 x 26.122 ms
		"mp3 behind a tag":    {append([]byte("ID3\x04\x00\x00\x00\x00\x00\x0a0123456789"), mp3(3828)...), 100, 101},
		"flac of silence":     {flac(1077), 100, 101}, // 1077 x 92.9 ms in 10 KB
		"opus":                {opus(500, "\x78"), 10, 11},
		"opus of long frames": {opus(500, "\x1b\x02"), 60, 61}, // 2 x 60 ms
		"vorbis":              {append(page(2, 7, vorbis), page(0, 7, "\x03", "\x05", "a", "b", "c")...), 1, 1},
		// By its bytes, at 500 a second.
		"ogg with a wrong checksum": {append(opus(10, "\x78"), "OggS\x00\x00"+strings.Repeat("\x00", 21)...), 7, 9},
		"aac":                       {bytes.Repeat(append([]byte("\xff\xf1\x50\x80\x19\x1f\xfc"), make([]byte, 193)...), 250), 100, 101},
		"mp4 that begins as mp3":    {append([]byte("\xff\xfb\x90\x64moov"), make([]byte, 50_000)...), 100, 101},
		"mp3 with a tag behind it":  {append(mp3(3828), append([]byte("TAG"), make([]byte, 125)...)...), 101, 102}, // its last frame, too, counts by bytes
		"m4a":                       {append([]byte("\x00\x00\x00\x18ftypM4A "), make([]byte, 50_000)...), 100, 101},
		"webm":                      {append([]byte("\x1a\x45\xdf\xa3"), make([]byte, 50_000)...), 100, 101},
		"of noise":                  {bytes.Repeat([]byte("noise"), 10_000), 100, 100},
		"empty":                     {[]byte{}, 0, 0},
	} {
		if got := seconds(t, tt.recording); got < tt.least || got > tt.most {
			t.Errorf("%s: %d seconds, want %d to %d", what, got, tt.least, tt.most)
		}
	}
}

// Whatever the bytes, a bound costs linear time.
func TestRecordingsCostLinearTime(t *testing.T) {
	const size = 8 << 20
	for _, unit := range []string{"\xff", "\xff\xfb\x90\x64", "\xff\xf8", "\xff\xf8\xc9\x18\x00", "OggS", "ID3\x04\x00\x00\x00\x00\x00\x00"} {
		for _, head := range []string{"", "fLaC\x00\x00\x00\x22" + strings.Repeat("\x01", 34), "OggS\x00", "RIFF"} {
			recording := []byte(head + strings.Repeat(unit, size/len(unit)))
			if got := seconds(t, recording); got < 0 {
				t.Errorf("%q, %q: %d", head, unit, got)
			}
		}
	}
}
