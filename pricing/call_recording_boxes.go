package pricing

import (
	"bytes"
	"encoding/binary"
	"math"
)

// Recordings in containers: M4A with AAC, WebM with Opus. A length is proven where
// every reader of the file finds the same samples; what the file says of its length
// counts where it is more.

// mp4 is a file of ISO/IEC 14496-12 being read.
type mp4 struct {
	micros   int64 // of all samples of all tracks
	declared int64 // microseconds, by any header
	scale    int64 // of the movie, ticks a second
	track    mp4Track
}

type mp4Track struct {
	scale   int64
	ticks   int64 // of its table of times
	samples int64
	hertz   int64 // of its AAC; 0: unknown
}

// mp4Millis is the length of the file. Fragments, and whatever is not AAC as most
// encoders write it, have none.
func mp4Millis(b []byte) (int64, bool) {
	var f mp4
	if !f.boxes(b, 0) || f.micros == 0 {
		return 0, false
	}
	return (max(f.micros, f.declared) + 999) / 1000, true
}

func (f *mp4) boxes(b []byte, depth int) bool {
	for len(b) > 0 {
		if len(b) < 8 {
			return false
		}
		size, head := uint64(binary.BigEndian.Uint32(b)), uint64(8)
		if size == 1 && len(b) >= 16 {
			size, head = binary.BigEndian.Uint64(b[8:]), 16
		}
		if size < head || size > uint64(len(b)) || !f.box(string(b[4:8]), b[head:size], depth) {
			return false
		}
		b = b[size:]
	}
	return true
}

func (f *mp4) box(name string, body []byte, depth int) bool {
	switch name {
	case "moov", "mdia", "minf", "stbl", "edts":
		return depth < 8 && f.boxes(body, depth+1)
	case "trak":
		f.track = mp4Track{}
		return depth < 8 && f.boxes(body, depth+1) && f.endTrack()
	case "mvhd":
		return f.header(body, &f.scale)
	case "mdhd":
		return f.header(body, &f.track.scale)
	case "stsd":
		if f.track.hertz > 0 {
			return false
		}
		f.track.hertz = aacHertz(body)
		return f.track.hertz > 0
	case "stsz":
		if len(body) < 12 || f.track.samples > 0 {
			return false
		}
		f.track.samples = int64(binary.BigEndian.Uint32(body[8:]))
	case "stts":
		return f.times(body)
	case "elst":
		return f.edits(body)
	case "moof", "mvex", "stz2", "cmov", "sinf", "uuid":
		return false
	}
	return true
}

// header reads how long a movie or a track says it is.
func (f *mp4) header(b []byte, scale *int64) bool {
	var ticks uint64
	switch {
	case *scale != 0: // a second one, of which some take the first and some the last
		return false
	case len(b) >= 20 && b[0] == 0:
		*scale, ticks = int64(binary.BigEndian.Uint32(b[12:])), uint64(binary.BigEndian.Uint32(b[16:]))
	case len(b) >= 32 && b[0] == 1:
		*scale, ticks = int64(binary.BigEndian.Uint32(b[20:])), binary.BigEndian.Uint64(b[24:])
	default:
		return false
	}
	return f.lasts(ticks, *scale)
}

// lasts takes ticks for a length.
func (f *mp4) lasts(ticks uint64, scale int64) bool {
	const most = 1 << 42 // beyond any recording, and far from overflow
	if scale <= 0 || ticks > most {
		return false
	}
	f.declared = max(f.declared, (int64(ticks)*1_000_000+scale-1)/scale)
	return true
}

func (f *mp4) times(b []byte) bool {
	if len(b) < 8 || len(b)-8 != 8*int(binary.BigEndian.Uint32(b[4:])) {
		return false
	}
	for b = b[8:]; len(b) > 0; b = b[8:] {
		count, delta := uint64(binary.BigEndian.Uint32(b)), uint64(binary.BigEndian.Uint32(b[4:]))
		if count*delta > 1<<42 || f.track.ticks > 1<<42 { // each is below 1<<32
			return false
		}
		f.track.ticks += int64(count * delta)
	}
	return true
}

// edits reads a list of what is to be played, which may have pauses.
func (f *mp4) edits(b []byte) bool {
	size, wide := 12, false
	if len(b) >= 8 && b[0] == 1 {
		size, wide = 20, true
	}
	if len(b) < 8 || len(b)-8 != size*int(binary.BigEndian.Uint32(b[4:])) {
		return false
	}
	var ticks uint64
	for b = b[8:]; len(b) > 0; b = b[size:] {
		n := uint64(binary.BigEndian.Uint32(b))
		if wide {
			n = binary.BigEndian.Uint64(b)
		}
		if ticks += n; n > 1<<42 || ticks > 1<<42 {
			return false
		}
	}
	return f.lasts(ticks, f.scale)
}

func (f *mp4) endTrack() bool {
	t := &f.track
	if t.hertz == 0 || t.samples == 0 || !f.lasts(uint64(t.ticks), t.scale) {
		return false
	}
	const frame = 1024 // samples of AAC, before SBR doubles them and their rate
	f.micros += (t.samples*frame*1_000_000 + t.hertz - 1) / t.hertz
	return f.micros < 1<<53 // many tracks must not add up to an overflow
}

// aacHertz is the rate of a track whose only entry is AAC of a usual kind; 0: it is
// something else. ISO/IEC 14496-14, 14496-1 and 14496-3, 1.6.2.1.
func aacHertz(b []byte) int64 {
	const esds = 48 // in the first kind of entry, which all readers know
	if len(b) < esds+4 || binary.BigEndian.Uint32(b[4:]) != 1 || string(b[12:16]) != "mp4a" || b[24] != 0 || b[25] != 0 ||
		string(b[esds:esds+4]) != "esds" || bytes.Count(b, []byte("esds")) != 1 {
		return 0
	}
	d := b[esds+4:]
	open := func(tag byte, skip int) bool { // a descriptor, and its first bytes
		if len(d) < 2 || d[0] != tag {
			return false
		}
		at := 1
		for at < len(d) && at < 4 && d[at]&0x80 != 0 {
			at++
		}
		if at+1+skip > len(d) {
			return false
		}
		d = d[at+1:]
		return true
	}
	if len(d) < 4 {
		return 0
	}
	d = d[4:]
	if !open(3, 3) || d[2] != 0 { // no dependencies, URLs or clocks
		return 0
	}
	d = d[3:]
	const aac = 0x40
	if !open(4, 13) || d[0] != aac {
		return 0
	}
	d = d[13:]
	if !open(5, 2) {
		return 0
	}
	kind, rate := d[0]>>3, int(d[0]&7<<1|d[1]>>7)
	hertz := [...]int64{96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8000, 7350}
	if kind != 2 && kind != 5 && kind != 29 || rate >= len(hertz) {
		return 0
	}
	return hertz[rate]
}

// webmMillis is the length of a WebM of Opus: of all packets, or what any time in
// it says. RFC 8794 and RFC 9559.
func webmMillis(b []byte) (int64, bool) {
	const (
		segment, cluster, group, tracks, entry = 0x18538067, 0x1f43b675, 0xa0, 0x1654ae6b, 0xae
		info, scale, duration, codec           = 0x1549a966, 0x2ad7b1, 0x4489, 0x86
		clock, simple, block                   = 0xe7, 0xa3, 0xa1
		encodings, encrypted                   = 0x6d80, 0xaf
	)
	var micros, at, latest, codecs int64
	nanos := int64(1_000_000) // a tick
	e := ebml{rest: b}
	for len(e.rest) > 0 {
		id, body, ok := e.next(func(id int64) bool {
			return id == segment || id == cluster || id == group || id == tracks || id == entry || id == info
		})
		if !ok {
			return 0, false
		}
		switch id {
		case encodings, encrypted:
			return 0, false
		case duration:
			ticks, ok := ebmlFloat(body)
			if !ok {
				return 0, false
			}
			latest = max(latest, ticks)
		case codec:
			if codecs++; string(body) != "A_OPUS" {
				return 0, false
			}
		case scale:
			if nanos = ebmlUint(body); nanos <= 0 || nanos > 1_000_000_000 {
				return 0, false
			}
		case clock:
			if at = ebmlUint(body); at < 0 || at > 1<<40 {
				return 0, false
			}
		case simple, block:
			track, k := ebmlNumber(body, true)
			const head, lacing = 3, 6
			if k == 0 || track <= 0 || len(body) < k+head || body[k+2]&lacing != 0 {
				return 0, false
			}
			latest = max(latest, at+int64(int16(binary.BigEndian.Uint16(body[k:]))))
			micros += opusMicros(body[k+head:])
		}
	}
	const packet = 120_000 // the last one's, at most
	if codecs == 0 || micros == 0 || latest > 1<<40 || latest > 1<<62/nanos {
		return 0, false
	}
	return (max(micros, latest*nanos/1000+packet) + 999) / 1000, true
}

// ebml is a text of elements within elements.
type ebml struct {
	rest []byte
	ends []int // how much is left behind each open element of known size
}

// next reads an element. What is in one that opens comes next; another must not
// reach beyond those it is in, where readers would go on in the midst of it.
func (e *ebml) next(opens func(id int64) bool) (id int64, body []byte, ok bool) {
	const deepest = 8
	for len(e.ends) > 0 && len(e.rest) == e.ends[len(e.ends)-1] {
		e.ends = e.ends[:len(e.ends)-1]
	}
	id, n := ebmlNumber(e.rest, false)
	size, m := ebmlNumber(e.rest[n:], true)
	if n == 0 || m == 0 {
		return 0, nil, false
	}
	e.rest = e.rest[n+m:]
	open := opens(id)
	if size < 0 {
		return id, nil, open
	}
	left := len(e.rest) - int(min(size, 1<<40))
	if left < 0 || len(e.ends) > 0 && left < e.ends[len(e.ends)-1] || len(e.ends) == deepest {
		return 0, nil, false
	}
	if open {
		e.ends = append(e.ends, left)
		return id, nil, true
	}
	body, e.rest = e.rest[:size], e.rest[size:]
	return id, body, true
}

// ebmlNumber reads a number of variable length, and how many bytes it takes; 0:
// none is there. An id keeps its mark of length; a size without an end is -1.
func ebmlNumber(b []byte, size bool) (v int64, n int) {
	if len(b) == 0 || b[0] == 0 {
		return 0, 0
	}
	for n = 1; b[0]<<(n-1)&0x80 == 0; n++ {
	}
	if n > len(b) || !size && n > 4 {
		return 0, 0
	}
	v = int64(b[0])
	if size {
		v &= 0xff >> n
	}
	for _, c := range b[1:n] {
		v = v<<8 | int64(c)
	}
	if size && v == 1<<(7*n)-1 {
		return -1, n
	}
	return v, n
}

// ebmlUint is -1 for what is too long.
func ebmlUint(b []byte) (v int64) {
	if len(b) > 7 {
		return -1
	}
	for _, c := range b {
		v = v<<8 | int64(c)
	}
	return v
}

// ebmlFloat is a number of ticks, rounded up.
func ebmlFloat(b []byte) (int64, bool) {
	var v float64
	switch len(b) {
	case 4:
		v = float64(math.Float32frombits(binary.BigEndian.Uint32(b)))
	case 8:
		v = math.Float64frombits(binary.BigEndian.Uint64(b))
	default:
		return 0, false
	}
	return int64(math.Ceil(v)), v >= 0 && v < 1<<40
}
