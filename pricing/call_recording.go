package pricing

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// longestRecording bounds a recording's length in milliseconds, in linear time, by
// its frames, so that no header can lie. Where a decoder may begin anew within
// damaged bytes, everything that can be a frame counts. False: nobody here can tell,
// as bytes alone bound nothing.
func longestRecording(b []byte) (int64, bool) {
	switch m := afterID3(b); {
	case len(m) == 0:
		return 0, true
	case bytes.HasPrefix(m, []byte("RIFF")):
		ms, err := longestAudio(b)
		return ms, err == nil
	case bytes.HasPrefix(m, []byte("fLaC")):
		ms := flacMillis(m)
		return ms, ms > 0
	case bytes.HasPrefix(m, []byte("OggS")):
		return oggMillis(m)
	case bytes.HasPrefix(m, []byte("\x1a\x45\xdf\xa3")):
		return webmMillis(m)
	case len(m) > 8 && string(m[4:8]) == "ftyp":
		return mp4Millis(m)
	case len(m) > 3 && m[0] == 0xff && m[1]&0xe0 == 0xe0:
		// A frame of AAC has 7 bytes of header and lasts 0.28 s at most.
		const slowest = 25 // bytes a second
		return mpegMillis(m) + (strangeToMPEG(m)*1000+slowest-1)/slowest, true
	}
	return 0, false
}

// mpegMillis is the length of all that can be frames of MPEG audio (mp3).
// ISO/IEC 11172-3 and 13818-3: a frame has a sync word, and a fixed number of
// samples.
func mpegMillis(b []byte) int64 {
	var micros int64
	for at := 0; ; at++ {
		next := bytes.IndexByte(b[at:], 0xff)
		if next < 0 || at+next+4 > len(b) {
			return (micros + 999) / 1000
		}
		at += next
		micros += mpegFrame(b[at:])
	}
}

// mpegFrame is the length of a frame in microseconds; 0: none begins here.
func mpegFrame(b []byte) int64 {
	version, layer, rate := b[1]>>3&3, b[1]>>1&3, b[2]>>2&3
	if b[1]&0xe0 != 0xe0 || version == 1 || layer == 0 || b[2]>>4 == 15 || rate == 3 {
		return 0
	}
	hertz := [3]int64{44_100, 48_000, 32_000}[rate]
	samples := int64(1152)
	switch {
	case layer == 3: // Layer I
		samples = 384
	case layer == 1 && version != 3: // Layer III of MPEG-2
		samples = 576
	}
	switch version {
	case 2:
		hertz /= 2
	case 0: // MPEG-2.5
		hertz /= 4
	}
	return (samples*1_000_000 + hertz - 1) / hertz
}

// strangeToMPEG is how many bytes stand in no frame of MPEG audio that another
// one or the end of the file follows: tags, or another format that begins alike,
// such as AAC.
func strangeToMPEG(b []byte) (n int64) {
	for at := 0; at < len(b); {
		size := mpegSize(b[at:])
		if end := at + size; size > 0 && (end == len(b) || end < len(b) && mpegSize(b[end:]) > 0) {
			at = end
			continue
		}
		n++
		at++
	}
	return n
}

// kilobits are the bit rates by their index, from 1: of Layers I to III of MPEG-1,
// and of Layer I and the other two of MPEG-2.
var kilobits = [5][14]int{
	{32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448},
	{32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384},
	{32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320},
	{32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256},
	{8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160},
}

// mpegSize is the size of a frame in bytes; 0: none begins here, or nobody says.
func mpegSize(b []byte) int {
	if len(b) < 4 || b[0] != 0xff || mpegFrame(b) == 0 || b[2]>>4 == 0 {
		return 0
	}
	version, layer, padding := b[1]>>3&3, 4-int(b[1]>>1&3), int(b[2]>>1&1)
	hertz := [3]int{44_100, 48_000, 32_000}[b[2]>>2&3]
	row, slots := layer-1, 144
	if version != 3 {
		row, hertz = min(layer+2, 4), hertz>>(2-version/2)
	}
	bits := 1000 * kilobits[row][b[2]>>4-1]
	switch {
	case layer == 1:
		return (12*bits/hertz + padding) * 4
	case layer == 3 && version != 3:
		slots = 72
	}
	return slots*bits/hertz + padding
}

// flacMillis is the length of all that can be frames of FLAC: what begins with a
// sync code and ends with its right CRC. RFC 9639, 9.1.
func flacMillis(b []byte) int64 {
	const streamInfo = 8 + 34
	if len(b) < streamInfo || b[4]&0x7f != 0 {
		return 0
	}
	usual := int64(b[18])<<12 | int64(b[19])<<4 | int64(b[20])>>4
	var micros int64
	for at := streamInfo; ; at++ {
		next := bytes.IndexByte(b[at:], 0xff)
		if next < 0 {
			return (micros + 999) / 1000
		}
		at += next
		micros += flacFrame(b[at:min(len(b), at+16)], usual)
	}
}

// flacFrame is the length of a frame in microseconds by its header; 0: none.
func flacFrame(h []byte, usual int64) int64 {
	if len(h) < 6 || h[1]&0xfe != 0xf8 {
		return 0
	}
	at := 4
	size := utf8Length(h[at]) // of the number of the frame, or of its first sample
	if size == 0 || at+size >= len(h) {
		return 0
	}
	at += size
	return flacLength(h, at, usual)
}

// utf8Length is how many bytes a number takes that begins so, as UTF-8 writes them
// and on to 36 bits; 0: it is none.
func utf8Length(first byte) int {
	switch n := bits.LeadingZeros8(^first); n {
	case 0:
		return 1
	case 1, 8:
		return 0
	default:
		return n
	}
}

// flacLength reads what the header says behind the number, which ends before at.
func flacLength(h []byte, at int, usual int64) int64 {
	number := func(n int) (v int64) {
		for ; n > 0 && at < len(h); n-- {
			v = v<<8 | int64(h[at])
			at++
		}
		return v
	}
	samples := int64(0)
	switch code := h[2] >> 4; {
	case code == 1:
		samples = 192
	case code >= 2 && code <= 5:
		samples = 576 << (code - 2)
	case code == 6:
		samples = number(1) + 1
	case code == 7:
		samples = number(2) + 1
	case code >= 8:
		samples = 256 << (code - 8)
	}
	hertz := usual
	switch code := h[2] & 15; code {
	case 0:
	case 12:
		hertz = number(1) * 1000
	case 13:
		hertz = number(2)
	case 14:
		hertz = number(2) * 10
	case 15:
		return 0
	default:
		hertz = [12]int64{0, 88_200, 176_400, 192_000, 8000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000}[code]
	}
	if samples == 0 || hertz <= 0 || at >= len(h) || crc8(h[:at]) != h[at] {
		return 0
	}
	return (samples*1_000_000 + hertz - 1) / hertz
}

// crc8 is that of FLAC's frame headers: x^8 + x^2 + x + 1.
func crc8(b []byte) (crc byte) {
	for _, c := range b {
		crc ^= c
		for range 8 {
			if crc&0x80 != 0 {
				crc = crc<<1 ^ 7
			} else {
				crc <<= 1
			}
		}
	}
	return crc
}

// oggMillis is the length of a file of Ogg pages, of which no byte is between
// them, by the packets of Opus or Vorbis. False: it is something else, or has a
// page with a wrong checksum, within which a decoder may look for others.
// RFC 3533, 6.
func oggMillis(b []byte) (int64, bool) {
	var table [256]uint32
	for i := range table {
		r := uint32(i) << 24
		for range 8 {
			r = r<<1 ^ (r >> 31 * 0x04c11db7)
		}
		table[i] = r
	}
	streams := make(map[uint32]*oggStream)
	for len(b) > 0 {
		const head = 27
		if len(b) < head || string(b[:4]) != "OggS" || b[4] != 0 || len(b) < head+int(b[26]) {
			return 0, false
		}
		lacing := b[head : head+int(b[26])]
		size := head + len(lacing)
		for _, n := range lacing {
			size += int(n)
		}
		if size > len(b) || oggSum(b[:size], &table) != binary.LittleEndian.Uint32(b[22:]) {
			return 0, false
		}
		serial := binary.LittleEndian.Uint32(b[14:])
		s := streams[serial]
		if s == nil {
			if len(streams) == maxOggStreams {
				return 0, false
			}
			s = &oggStream{}
			streams[serial] = s
		}
		if !s.page(lacing, b[head+len(lacing):size], b[5]&1 != 0) {
			return 0, false
		}
		b = b[size:]
	}
	var longest int64
	for _, s := range streams { // one after another, or at the same time
		longest += s.micros
	}
	return (longest + 999) / 1000, longest > 0
}

const maxOggStreams = 8

func oggSum(page []byte, table *[256]uint32) (crc uint32) {
	for i, c := range page {
		if i >= 22 && i < 26 {
			c = 0
		}
		crc = crc<<8 ^ table[byte(crc>>24)^c]
	}
	return crc
}

// oggStream is one logical stream.
type oggStream struct {
	opus   bool
	packet int64 // microseconds of a packet of Vorbis, at most; 0: none was read
	begun  bool
	open   bool // a packet goes on on the next page
	micros int64
}

// page takes the packets that begin on a page.
func (s *oggStream) page(lacing, data []byte, continued bool) bool {
	if continued != s.open {
		return false
	}
	fresh := !continued
	for _, n := range lacing {
		segment := data[:n]
		data = data[n:]
		if fresh && !s.begin(segment) {
			return false
		}
		fresh = n < 255
	}
	if len(lacing) > 0 {
		s.open = !fresh
	}
	return true
}

// begin takes a packet by its first segment.
func (s *oggStream) begin(b []byte) bool {
	if s.begun {
		if s.opus {
			s.micros += opusMicros(b)
		} else {
			s.micros += s.packet
		}
		return true
	}
	s.begun = true
	switch {
	case bytes.HasPrefix(b, []byte("OpusHead")):
		s.opus = true
	case bytes.HasPrefix(b, []byte("\x01vorbis")) && len(b) >= 30:
		hertz := int64(binary.LittleEndian.Uint32(b[12:]))
		if hertz == 0 {
			return false
		}
		s.packet = (int64(1)<<(b[28]>>4)/2*1_000_000 + hertz - 1) / hertz
	default:
		return false
	}
	return true
}

// opusMicros is the length of a packet by its first two bytes, at most 120 ms.
// RFC 6716, 3.1.
func opusMicros(b []byte) int64 {
	const most = 120_000
	if len(b) == 0 {
		return 0
	}
	var frame int64
	switch config := b[0] >> 3; {
	case config < 12:
		frame = [4]int64{10_000, 20_000, 40_000, 60_000}[config&3]
	case config < 16:
		frame = [2]int64{10_000, 20_000}[config&1]
	default:
		frame = [4]int64{2500, 5000, 10_000, 20_000}[config&3]
	}
	switch b[0] & 3 {
	case 0:
		return frame
	case 1, 2:
		return 2 * frame
	}
	if len(b) < 2 {
		return most
	}
	return min(most, frame*int64(b[1]&63))
}
